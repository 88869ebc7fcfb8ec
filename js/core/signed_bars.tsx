/** A list of names, each with a bar to the right (what raises) or to the left (what lowers) and its number. */
import type { ComponentChildren } from "preact";
import { signed } from "./format";
import css from "./signed_bars.css?inline";

export const signedBarsCss = css;

export interface BarRow {
  key: string;
  name: string;
  title?: string;
  value: number;
  pressed?: boolean;
  onClick?: () => void;
}

export function Bars({ rows, most, code }: { rows: readonly BarRow[]; most?: number; code?: boolean }) {
  const end = most ?? Math.max(...rows.map(({ value }) => Math.abs(value)), 1e-9);
  return (
    <ul class="mw-signed-bars">
      {rows.map(({ key, name, title, value, pressed, onClick }) => (
        <li key={key}>
          <Name {...{ title, pressed, onClick, code }}>{name}</Name>
          <span class="mw-signed-bar" aria-hidden="true">
            <span
              class={value < 0 ? "mw-lowers" : "mw-raises"}
              style={{ width: `${(50 * Math.abs(value)) / end}%` }}
            />
          </span>
          <span class="mw-signed-number">{signed(value)}</span>
        </li>
      ))}
    </ul>
  );
}

interface NameProps {
  title: string | undefined;
  pressed: boolean | undefined;
  onClick: (() => void) | undefined;
  code: boolean | undefined;
  children: ComponentChildren;
}

function Name({ title, pressed, onClick, code, children }: NameProps) {
  const style = `mw-signed-name ${code ? "mw-code" : ""}`;
  if (!onClick) {
    return (
      <span class={style} title={title}>
        {children}
      </span>
    );
  }
  return (
    <button type="button" class={`${style} mw-link`} title={title} aria-pressed={pressed} onClick={onClick}>
      {children}
    </button>
  );
}
