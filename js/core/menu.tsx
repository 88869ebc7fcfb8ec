/** What every picture can do: say the Python that makes it, and give what it shows as a file or a table. */
import { type Signal, useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { uniqueId } from "./accessibility";
import { type Frame, useFrame } from "./frame";
import { viewRoot } from "./mount";
import { isAbort } from "./port";
import { copyText, fileName, saveFile } from "./save";
import { pngFile, svgFile, takeSnapshot } from "./snapshot";
import { type TableSource, toCsv, toTsv } from "./table";
import { TableDialog } from "./table_dialog";

interface Item {
  readonly text: string;
  /** Why it cannot be done now. */
  readonly refused?: string;
  readonly run: () => Promise<void> | void;
}

interface Note {
  readonly text: string;
  /** What the clipboard did not take, to be copied by hand. */
  readonly copy?: string;
}

/** The browser's popover: it lies above the notebook, and closes on Escape and on a click elsewhere. */
export function Menu({ modelName }: { modelName: string }) {
  const frame = useFrame();
  const id = useMemo(uniqueId, []);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const open = useSignal(false);
  const note = useSignal<Note | null>(null);
  const table = useSignal<TableSource | null>(null);
  const items = menuItems(frame, modelName, { button, note, table });
  const toggled = (event: Event) => {
    open.value = (event as ToggleEvent).newState === "open";
    if (open.value && list.current && button.current) place(list.current, button.current);
  };
  const choose = (item: Item) => {
    if (item.refused) return;
    list.current?.hidePopover();
    button.current?.focus();
    note.value = null;
    const run = async () => item.run();
    run().catch((error: unknown) => {
      if (!isAbort(error)) note.value = { text: error instanceof Error ? error.message : String(error) };
    });
  };
  return (
    <span class="mw-menu">
      <span class="mw-muted" role="status">
        {note.value?.text}
      </span>
      {note.value?.copy && <CopyByHand note={note} text={note.value.copy} />}
      {table.value && (
        <TableDialog
          name={table.value.name}
          table={table.value.make()}
          onClose={() => {
            table.value = null;
          }}
        />
      )}
      <button
        ref={button}
        type="button"
        class="mw-button mw-menu-button"
        aria-label="Copy and save"
        title="Copy and save"
        aria-haspopup="menu"
        aria-expanded={open.value}
        popovertarget={id}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") {
            event.preventDefault();
            list.current?.showPopover();
          }
        }}
      >
        <span aria-hidden="true">⋯</span>
      </button>
      <div
        ref={list}
        id={id}
        class="mw-menu-list"
        role="menu"
        aria-label="Copy and save"
        tabIndex={-1}
        popover="auto"
        onToggle={toggled}
        onKeyDown={(event) => walk(event, list.current, button.current)}
      >
        {items.map((item) => (
          <button
            key={item.text}
            type="button"
            role="menuitem"
            class="mw-menu-item"
            tabIndex={-1}
            aria-disabled={item.refused !== undefined}
            title={item.refused}
            onClick={() => choose(item)}
          >
            {item.text}
          </button>
        ))}
      </div>
    </span>
  );
}

/** Where the browser keeps the clipboard from the page. */
function CopyByHand({ note, text }: { note: Signal<Note | null>; text: string }) {
  return (
    <textarea
      class="mw-input mw-code"
      aria-label="To copy"
      readOnly
      rows={1}
      value={text}
      ref={(field) => field?.select()}
      onBlur={() => {
        note.value = null;
      }}
    />
  );
}

interface Shown {
  readonly button: { current: HTMLElement | null };
  readonly note: Signal<Note | null>;
  /** That is read now. */
  readonly table: Signal<TableSource | null>;
}

function menuItems(frame: Frame, modelName: string, { button, note, table: read }: Shown): Item[] {
  const root = () => {
    if (!button.current) throw new Error("The picture is gone.");
    return viewRoot(button.current);
  };
  const name = (more: string, ending: string) =>
    fileName([root().dataset.view ?? "", modelName, more], ending);
  const copy = async (text: string, what: string) => {
    const copied = await copyText(text);
    note.value = copied ? { text: `Copied ${what}` } : { text: "Press Ctrl+C:", copy: text };
  };
  const { live } = frame.capabilities.value;
  const tables = frame.tables.value;
  const which = ({ name: title }: TableSource) => (tables.length > 1 ? `: ${title}` : "");
  return [
    {
      text: "Copy as Python",
      ...(live ? {} : { refused: "The kernel that knows the Python is gone. Run the cell again." }),
      run: async () => copy(await pythonOf(frame), "as Python"),
    },
    {
      text: "Save as PNG",
      run: async () => saveFile(name("", "png"), await pngFile(await takeSnapshot(root(), frame))),
    },
    {
      text: "Save as SVG",
      run: async () => saveFile(name("", "svg"), svgFile(await takeSnapshot(root(), frame))),
    },
    ...tables.flatMap((table) => [
      {
        text: `Show table${which(table)}`,
        run: () => {
          read.value = table;
        },
      },
      { text: `Copy table${which(table)}`, run: () => copy(toTsv(table.make()), "the table") },
      {
        text: `Save CSV${which(table)}`,
        run: () => saveFile(name(table.name, "csv"), new Blob([toCsv(table.make())], { type: "text/csv" })),
      },
    ]),
  ];
}

async function pythonOf(frame: Frame): Promise<string> {
  const answer = await frame.port.request<{ code: string }>("code", {}, { signal: frame.signal });
  return answer.code;
}

/** Under its button, its right edge at the button's. */
function place(list: HTMLElement, button: HTMLElement): void {
  const at = button.getBoundingClientRect();
  const { width, height } = list.getBoundingClientRect();
  const below = at.bottom + 2;
  list.style.left = `${Math.max(4, at.right - width)}px`;
  list.style.top = `${below + height > window.innerHeight ? Math.max(4, at.top - height - 2) : below}px`;
  list.querySelector<HTMLElement>("[role=menuitem]")?.focus();
}

function walk(event: KeyboardEvent, list: HTMLElement | null, button: HTMLElement | null): void {
  const items = [...(list?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
  const at = items.indexOf(document.activeElement as HTMLElement);
  const to: Record<string, number> = {
    ArrowDown: (at + 1) % items.length,
    ArrowUp: (at + items.length - 1) % items.length,
    Home: 0,
    End: items.length - 1,
  };
  const next = to[event.key];
  if (next !== undefined) {
    event.preventDefault();
    items[next]?.focus();
  } else if (event.key === "Tab" || event.key === "Escape") {
    list?.hidePopover();
    button?.focus();
    if (event.key === "Escape") event.preventDefault();
  }
  // The notebook and the picture have arrows and Escape of their own.
  event.stopPropagation();
}
