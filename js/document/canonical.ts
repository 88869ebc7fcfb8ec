/** JSON in one form that Python and JavaScript write alike; the twin of mechwidgets/analysis/canonical.py. */

/** No spaces, names sorted by their UTF-16 units, all but printable ASCII escaped. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "string") return quoted(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  const parts = names.map((name) => `${quoted(name)}:${canonical((value as Record<string, unknown>)[name])}`);
  return `{${parts.join(",")}}`;
}

function quoted(text: string): string {
  return JSON.stringify(text).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
