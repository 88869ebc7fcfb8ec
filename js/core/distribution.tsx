/** A next-token distribution as a table with bars, without changes to the model and with them. */
import type { NdArray } from "./arrays";
import css from "./distribution.css?inline";
import { formatChange } from "./format";
import { shorten, tokenLabel } from "./tokens";

export const distributionCss = css;

export interface DistributionAnswer {
  tokens: string[];
  /** Probabilities, one a token. */
  before: NdArray<"float32">;
  after: NdArray<"float32">;
}

export interface DistributionProps {
  answer: DistributionAnswer;
  /** Both columns are there to be compared. */
  compares: boolean;
  /** The answer is one before what is asked now. */
  stale: boolean;
}

export function Distribution({ answer, compares, stale }: DistributionProps) {
  const { tokens, before, after } = answer;
  const largest = Math.max(...before.data, ...after.data);
  const width = (probability: number) => `${(100 * probability) / largest}%`;
  return (
    <table class="mw-bars" data-stale={stale} aria-busy={stale}>
      <thead>
        <tr class={compares ? "mw-muted" : "mw-hidden"}>
          <th scope="col">token</th>
          <td />
          <th scope="col">before</th>
          <th scope="col">after</th>
          <th scope="col">change</th>
        </tr>
      </thead>
      <tbody>
        {tokens.map((token, index) => {
          const [was = 0, is = 0] = [before.data[index], after.data[index]];
          return (
            <tr key={index}>
              <th scope="row" class="mw-code" title={token}>
                {shorten(tokenLabel(token), 14)}
              </th>
              <td class="mw-bar" aria-hidden="true">
                <div>
                  <span class="mw-bar-after" style={{ width: width(is) }} />
                  {compares && <span class="mw-bar-before" style={{ width: width(was) }} />}
                </div>
              </td>
              {compares && <td class="mw-muted">{probabilityText(was)}</td>}
              <td>{probabilityText(is)}</td>
              {compares && <td>{formatChange(is - was)}</td>}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

/** Where a table will be, while none is there. */
export function DistributionSpace() {
  return <div class="mw-bars-space" />;
}

function probabilityText(probability: number): string {
  return probability > 0 && probability < 0.0005 ? "<0.001" : probability.toFixed(3);
}
