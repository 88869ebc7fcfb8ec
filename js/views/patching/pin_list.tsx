/** The pins under the map: what each does alone, what they do together, and how far that is from the sum. */

import { colourAt } from "../../core/colour";
import { Button, ErrorLine } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame } from "../../core/frame";
import { type Joint, type Pins, pinName } from "./pins";
import { type Scale, signed } from "./scale";
import type { Tokens } from "./words";

export interface PinListProps {
  pins: Pins;
  scale: Scale;
  tokens: Tokens;
}

export function PinList({ pins, scale, tokens }: PinListProps) {
  const { list, joint } = pins;
  const effects = joint && effectsOf(joint, scale.base);
  const bar = (value: number | undefined) => (
    <EffectBar value={value ?? null} effects={effects} scale={scale} />
  );
  return (
    <>
      {list.length > 0 && (
        <table class="mw-pins">
          <caption class="mw-muted">
            Pinned, and run together. Effects on{" "}
            {scale.unit === "normalized" ? "the normalised metric" : "the metric"}:
          </caption>
          <tbody>
            {list.map((change, at) => (
              <tr key={at}>
                <th scope="row">{pinName(change, tokens)}</th>
                {bar(effects?.alone[at])}
                <td>
                  <Button
                    onClick={() => pins.drop(at)}
                    label={`Unpin ${pinName(change, tokens)}`}
                    title="Unpin"
                  >
                    ×
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
          {list.length > 1 && (
            <tfoot>
              <tr>
                <th scope="row">added up</th>
                {bar(effects?.sum)}
                <td />
              </tr>
              <tr class="mw-together">
                <th scope="row">together</th>
                {bar(effects?.together)}
                <td>
                  <Button onClick={pins.clear}>Unpin all</Button>
                </td>
              </tr>
            </tfoot>
          )}
        </table>
      )}
      {list.length > 0 && joint && <Verdict joint={joint} scale={scale} />}
      {pins.requests.map((request, at) => (
        <ErrorLine key={at} request={request} />
      ))}
    </>
  );
}

/** Changes of the metric. */
interface Effects {
  readonly alone: readonly number[];
  readonly sum: number;
  readonly together: number;
  /** How far bars reach to either side of nothing. */
  readonly low: number;
  readonly high: number;
}

function effectsOf({ alone, together }: Joint, base: number): Effects {
  const each = alone.map((value) => value - base);
  const sum = each.reduce((total, one) => total + one, 0);
  const all = [0, ...each, sum, together - base].filter(Number.isFinite);
  return { alone: each, sum, together: together - base, low: Math.min(...all), high: Math.max(...all) };
}

function EffectBar(props: { value: number | null; effects: Effects | null; scale: Scale }) {
  const { value, effects, scale } = props;
  const map = useFrame().theme.value.diverging;
  if (value === null || effects === null)
    return (
      <>
        <td class="mw-pin-number mw-muted">…</td>
        <td class="mw-pin-bar" />
      </>
    );
  const { low, high } = effects;
  const across = (effect: number) => (100 * (effect - low)) / (high - low || 1);
  const [from, to] = [across(Math.min(0, value)), across(Math.max(0, value))];
  const background = colourAt(map, scale.place(scale.base + value));
  return (
    <>
      <td class="mw-pin-number">{signed(scale.effect(value))}</td>
      <td class="mw-pin-bar" aria-hidden="true">
        <i style={{ left: `${across(0)}%` }} />
        <span style={{ left: `${from}%`, width: `${to - from}%`, background }} />
      </td>
    </>
  );
}

/** Where the metric ends up, and how far the sum was from it. */
function Verdict({ joint, scale }: { joint: Joint; scale: Scale }) {
  const { sum, together, alone } = effectsOf(joint, scale.base);
  const apart = together - sum;
  const share = sum === 0 ? "" : ` (${formatNumber(100 * Math.abs(apart / sum))} % of the sum)`;
  const where = scale.normalizable ? `, normalised ${formatNumber(scale.normalize(joint.together))}` : "";
  return (
    <div class="mw-verdict" aria-live="polite">
      The metric becomes {signed(joint.together)}
      {where}.
      {alone.length > 1 && ` That is ${signed(scale.effect(apart))} from what the effects add up to${share}.`}
    </div>
  );
}
