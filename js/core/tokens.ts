/** Token text for the eye: tokens are data, and many of their characters would not show or would move their neighbours. */

const SHOWN: Readonly<Record<string, string>> = {
  "\n": "⏎",
  "\r": "␍",
  "\t": "⇥",
  "\u007f": "␡",
  "\u00a0": "⍽",
};
const CONTROL_PICTURES = 0x2400;
/** Control characters, no-break space, and what is invisible or turns the writing direction. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const HIDDEN = /[\u0000-\u001f\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/** As a label: spaces at the start and the end as dots, other whitespace as marks; an empty token as "∅". */
export function tokenLabel(token: string): string {
  if (token === "") return "∅";
  return visible(token).replace(/^ +| +$/g, (spaces) => "·".repeat(spaces.length));
}

/** Inside a sentence: in quotes, where spaces show by themselves. */
export function quoteToken(token: string): string {
  return `'${visible(token)}'`;
}

/** At most `length` characters; what is cut shows as an ellipsis. */
export function shorten(text: string, length: number): string {
  const characters = Array.from(text);
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

function visible(token: string): string {
  return token.replace(HIDDEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (SHOWN[character]) return SHOWN[character];
    if (code < 0x20) return String.fromCodePoint(CONTROL_PICTURES + code);
    return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}
