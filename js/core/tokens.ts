/** Token text for the eye: tokens are data, and many of their characters would not show or would move their neighbours. */

const SHOWN: Readonly<Record<string, string>> = {
  "\n": "⏎",
  "\r": "␍",
  "\t": "⇥",
  "\u007f": "␡",
  "\u00a0": "⍽",
};
const CONTROL_PICTURES = 0x2400;
/** Control characters, no-break space, and what is invisible or turns the writing direction; not what joins two emoji, and not the signs of Arabic numbers. */
const HIDDEN =
  /[\p{Cc}\p{Zl}\p{Zp}\u00a0\u3164]|(?<!\p{Extended_Pictographic}\ufe0f?(?=\u200d))(?![\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2])\p{Cf}/gu;
/** Scripts that are written from right to left. */
const FROM_RIGHT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Nko}\p{Script=Syriac}\p{Script=Thaana}]/u;
/** Between these, text of either direction leaves its neighbours where they are. */
const [ISOLATE, END] = ["\u2068", "\u2069"];

/** As a label: spaces at the start and the end as dots, other whitespace as marks; an empty token as "∅". */
export function tokenLabel(token: string): string {
  if (token === "") return "∅";
  return visible(token).replace(/^ +| +$/g, (spaces) => "·".repeat(spaces.length));
}

/** Inside a sentence: in quotes, where spaces show by themselves. */
export function quoteToken(token: string): string {
  const quoted = `'${visible(token)}'`;
  return FROM_RIGHT.test(quoted) ? `${ISOLATE}${quoted}${END}` : quoted;
}

/** At most `length` characters; what is cut shows as an ellipsis. */
export function shorten(text: string, length: number): string {
  const characters = Array.from(text);
  if (characters.length <= length) return text;
  const cut = `${characters.slice(0, length - 1).join("")}…`;
  return text.endsWith(END) ? `${cut}${END}` : cut;
}

function visible(token: string): string {
  return token.replace(HIDDEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (SHOWN[character]) return SHOWN[character];
    if (code < 0x20) return String.fromCodePoint(CONTROL_PICTURES + code);
    return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}
