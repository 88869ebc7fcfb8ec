/** The whole heads that are shown: from their thumbnails at once, exact when the kernel has answered. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { NdArray } from "../../core/arrays";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import type { ValueRange } from "../../core/scale";
import { type Pattern, trianglePattern } from "./pattern";
import { thumbnailValues } from "./thumbnails";
import type { Head, PatternsAnswer, Traits } from "./traits";

/** What the page holds of heads that were looked at, in bytes; those looked at last. */
const KEPT_BYTES = 32_000_000;

interface Whole {
  /** The thumbnails that it belongs to: another run makes others. */
  readonly of: NdArray;
  readonly bytes: number;
  readonly pattern: Pattern;
}

export interface ShownPatterns {
  readonly request: UsedRequest<PatternsAnswer>;
  patternOf(head: Head): Pattern;
}

export function usePatterns(port: Port<Traits>, traits: Traits, heads: readonly Head[]): ShownPatterns {
  const { tokens, thumbnails, thumbnail_block, complete } = traits;
  const request = useRequest<PatternsAnswer, Traits>(port, "patterns");
  const known = useSignal<ReadonlyMap<string, Whole>>(new Map());
  // While the heads are computed, whole ones would wait for that too.
  const missing = heads.filter((head) => complete && known.value.get(String(head))?.of !== thumbnails);
  const ask = async () => {
    const answer = await request.send({ heads: missing });
    if (answer) known.value = withAnswer(known.peek(), thumbnails, tokens.length, missing, answer);
  };
  useEffect(() => {
    if (missing.length > 0) void ask();
    else request.abort();
  }, [thumbnails, missing.join(" ")]);
  const small = useMemo(() => new Map<string, Pattern>(), [thumbnails]);
  return {
    request,
    patternOf: (head) => {
      const key = String(head);
      const whole = known.value.get(key);
      if (whole?.of === thumbnails) return whole.pattern;
      const range = headRange(traits, head);
      const found =
        small.get(key) ??
        thumbnailValues(
          { array: thumbnails, block: thumbnail_block },
          range,
          head[0] * traits.n_heads + head[1],
          tokens.length,
        );
      small.set(key, found);
      return found;
    },
  };
}

/** Where a head's colours end. */
export function headRange({ limits, n_heads, diverging }: Traits, [layer, head]: Head): ValueRange {
  const at = 2 * (layer * n_heads + head);
  const [low = 0, high = 1] = limits.data.subarray(at, at + 2);
  return { low, high, diverging, negativeColor: "", positiveColor: "" };
}

/** What is known with what has arrived, less what nobody has looked at for the longest. */
function withAnswer(
  known: ReadonlyMap<string, Whole>,
  of: NdArray,
  size: number,
  heads: readonly Head[],
  { patterns, compared }: PatternsAnswer,
): ReadonlyMap<string, Whole> {
  const next = new Map([...known].filter(([, whole]) => whole.of === of));
  for (const [index, head] of heads.entries()) {
    const [values, others] = [patterns[index], compared[index] ?? null];
    if (!values) continue;
    const bytes = values.data.byteLength + (others?.data.byteLength ?? 0);
    next.set(String(head), { of, bytes, pattern: trianglePattern(size, values, others) });
  }
  const asked = new Set(heads.map(String));
  let bytes = [...next.values()].reduce((sum, whole) => sum + whole.bytes, 0);
  for (const [key, whole] of next) {
    if (bytes <= KEPT_BYTES) break;
    if (asked.has(key)) continue;
    next.delete(key);
    bytes -= whole.bytes;
  }
  return next;
}
