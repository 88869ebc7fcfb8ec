/** What the picture calls what it draws. */
import type { AttentionType, Traits } from "./traits";

/** Buttons: what is drawn. */
export const TYPES: readonly { value: AttentionType; text: string; title: string }[] = [
  { value: "standard", text: "attention", title: "The pattern: each row sums to 1." },
  {
    value: "value-weighted",
    text: "× |v|",
    title: "The pattern, each weight times the norm of the source's value vector.",
  },
  {
    value: "info-weighted",
    text: "× |v·W_O|",
    title:
      "The pattern, each weight times the norm of what the head writes of the source (Kobayashi et al. 2020).",
  },
  {
    value: "pre-softmax",
    text: "scores",
    title: "Before the softmax, scaled and masked. Only differences within a row mean something.",
  },
];

const NAMES: Readonly<Record<AttentionType, string>> = {
  standard: "attention",
  "value-weighted": "attention × |v|",
  "info-weighted": "attention × |v·W_O|",
  "pre-softmax": "score before softmax",
};

/** What a value is, as a legend says it. */
export function valueName({ attention_type, prompt, diverging }: Traits): string {
  const name = NAMES[attention_type];
  if (diverging) return `${name}, first less second prompt`;
  return Array.isArray(prompt) && prompt.length > 1 ? `mean ${name}` : name;
}

/** The scale that all heads share, as the map's legend says it: numbers only where they are the same in every head. */
export function mapScale(traits: Traits): { label: string; texts: readonly [string, string] } | null {
  const { attention_type, diverging } = traits;
  if (attention_type === "standard") return null;
  const name = valueName(traits);
  if (diverging) return { label: `${name}, each head as a share of its own reach`, texts: ["−", "+"] };
  if (attention_type === "pre-softmax")
    return { label: `${name}, each head's own`, texts: ["lowest", "highest"] };
  const norm = attention_type === "value-weighted" ? "|v|" : "|v·W_O|";
  return { label: name, texts: ["0", `the head's largest ${norm}`] };
}

/** A score's name in words. */
export function scoreName(name: string): string {
  return name.replaceAll("_", " ");
}

/** Tokens as prompts of one template have them: " Mary| John" where they differ. */
export function sharedTokens({ tokens, alternatives }: Traits): string[] {
  return tokens.map((token, at) => [token, ...(alternatives[at] ?? [])].join("|"));
}
