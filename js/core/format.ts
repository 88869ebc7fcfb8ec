/** Numbers and names as every picture writes them. */

const MINUS = "−";

/** Three significant digits: 0.83, 12.3, 0.0004, 1e-9. */
export function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "no value";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : "";
  if (size === Number.POSITIVE_INFINITY) return `${sign}∞`;
  if (size < 1e-4 || size >= 1e6) return sign + trimmed(size.toPrecision(3));
  return sign + trimmed(size.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size)))));
}

/** Without the zeros that say nothing: "0.830", "1.00e-9". */
function trimmed(digits: string): string {
  return digits.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "");
}

/** A change of a probability, with its sign and three decimals: +0.120, −0.031, 0.000. */
export function formatChange(value: number): string {
  const digits = Math.abs(value).toFixed(3);
  if (Number(digits) === 0) return "0.000";
  return (value < 0 ? MINUS : "+") + digits;
}

/** With its sign, so that what raises and what lowers is told without colour. */
export function signed(value: number): string {
  return value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
}

/** With a capital to begin with, as in a heading. */
export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
