/** SVG as text. */

export type Attributes = Readonly<Record<string, string | number | null>>;

/** An element; attributes that are null are left out, numbers are rounded to what can be seen. */
export function tag(name: string, attributes: Attributes, content = ""): string {
  const written = Object.entries(attributes).map(([key, value]) => {
    if (value === null) return "";
    const text = typeof value === "number" ? Math.round(value * 100) / 100 : escaped(value);
    return ` ${key}="${text}"`;
  });
  return `<${name}${written.join("")}>${content}</${name}>`;
}

/** XML has no way at all to write most control characters. */
export function escaped(text: string): string {
  return text
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
}
