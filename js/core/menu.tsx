/** What every picture can do: say the Python that makes it, and give what it shows as a file or a table. */
import { type Signal, useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { uniqueId } from "./accessibility";
import { type Frame, useFrame } from "./frame";
import { isAbort } from "./port";
import { copyText, fileName, saveFile } from "./save";
import { pngFile, svgFile, takeSnapshot } from "./snapshot";
import { type TableSource, toCsv, toTsv } from "./table";
import { showTable } from "./table_dialog";

interface Item {
  readonly text: string;
  /** Why it cannot be done now. */
  readonly refused?: string;
  readonly run: () => Promise<void> | void;
}

/** The browser's popover: it lies above the notebook, and closes on Escape and on a click elsewhere. */
export function Menu({ modelName }: { modelName: string }) {
  const frame = useFrame();
  const id = useMemo(uniqueId, []);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const open = useSignal(false);
  const note = useSignal("");
  const items = menuItems(frame, modelName, note);
  const toggled = (event: Event) => {
    open.value = (event as ToggleEvent).newState === "open";
    if (open.value && list.current && button.current) place(list.current, button.current);
  };
  const choose = (item: Item) => {
    if (item.refused) return;
    list.current?.hidePopover();
    button.current?.focus();
    note.value = "";
    const run = async () => item.run();
    run().catch((error: unknown) => {
      if (!isAbort(error)) note.value = error instanceof Error ? error.message : String(error);
    });
  };
  return (
    <span class="mw-menu">
      <span class="mw-muted" role="status">
        {note.value}
      </span>
      <button
        ref={button}
        type="button"
        class="mw-button mw-menu-button"
        aria-label="Copy and save"
        title="Copy and save"
        aria-haspopup="menu"
        aria-expanded={open.value}
        popovertarget={id}
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

function menuItems(frame: Frame, modelName: string, note: Signal<string>): Item[] {
  const name = (more: string, ending: string) =>
    fileName([frame.root.dataset.view ?? "", modelName, more], ending);
  const copy = async (text: string, what: string) => {
    note.value = (await copyText(text))
      ? `Copied ${what}`
      : "The browser does not let the page copy. Save a file instead.";
  };
  const { live, recorded } = frame.capabilities.value;
  const tables = frame.tables.value;
  const which = ({ name: title }: TableSource) => (tables.length > 1 ? `: ${title}` : "");
  return [
    {
      text: "Copy as Python",
      ...(live || recorded
        ? {}
        : { refused: "The kernel that knows the Python is gone. Run the cell again." }),
      run: async () => copy(await pythonOf(frame), "as Python"),
    },
    {
      text: "Save as PNG",
      run: async () => saveFile(name("", "png"), await pngFile(await takeSnapshot(frame))),
    },
    {
      text: "Save as SVG",
      run: async () => saveFile(name("", "svg"), svgFile(await takeSnapshot(frame))),
    },
    ...tables.flatMap((table) => [
      {
        text: `Show table${which(table)}`,
        run: () => showTable(frame.root, table.name, table.make()),
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
  const at = items.findIndex((item) => item.matches(":focus"));
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
