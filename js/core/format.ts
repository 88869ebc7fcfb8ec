/** Numbers as every picture writes them. */
import { format } from "d3-format";

const significant = format(".3~g");
const fixed = format(".2f");
const MINUS = "−";

/** Three significant digits: 0.83, 12.3, 0.0004, 1e-9. */
export function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "no value";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  if (size >= 1e-4 && size < 1e6) return plain(value, size);
  return significant(value);
}

/** Three significant digits without an exponent. */
function plain(value: number, size: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return format(`.${Math.min(digits, 6)}~f`)(value);
}

/** With its sign, as a change: +0.12, −0.03, ±0. */
export function formatChange(value: number): string {
  const text = formatNumber(value);
  return value > 0 ? `+${text}` : value === 0 ? "±0" : text;
}

/** For columns of numbers between 0 and 1. */
export function formatShare(value: number): string {
  return value > 0 && value < 0.005 ? "<0.01" : fixed(value);
}
