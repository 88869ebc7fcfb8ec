/** What of the data is shown, and where its colours end. */
import { Button, Choice, Legend } from "../../core/components";
import { formatNumber } from "../../core/format";
import { type ColourScale, legendTicks, type ValueRange } from "../../core/scale";
import { Selector } from "../../core/selector";
import type { Content, Dimension } from "./traits";

/** So few labels stand side by side. */
const CHOICES = 6;

export interface SelectorsProps {
  dimensions: readonly Dimension[];
  index: readonly number[];
  onIndex: (index: number[]) => void;
  isAnswered: (index: number[]) => boolean;
}

export function Selectors({ dimensions, index, onIndex, isAnswered }: SelectorsProps) {
  return (
    <>
      {dimensions.map(({ name, size, labels }, axis) => {
        const value = index[axis] ?? 0;
        const withPlace = (place: number) => index.map((old, at) => (at === axis ? place : old));
        const choose = (place: number) => onIndex(withPlace(place));
        if (size < 2) return null;
        if (labels && size <= CHOICES) {
          const options = labels.map((text, place) => ({ value: String(place), text }));
          return (
            <Choice
              key={axis}
              label={name}
              options={options}
              value={String(value)}
              onChange={(place) => choose(Number(place))}
            />
          );
        }
        return (
          <Selector
            key={axis}
            {...{ name, labels, value }}
            count={size}
            onChange={choose}
            isAnswered={(place) => isAnswered(withPlace(place))}
          />
        );
      })}
    </>
  );
}

export interface PagerProps {
  content: Content;
  onPage: (page: number) => void;
  isAnswered: (page: number) => boolean;
}

/** As "samples 0–4 of 40". */
export function Pager({ content, onPage, isAnswered }: PagerProps) {
  const { page, n_pages, n_samples, samples } = content;
  if (n_pages < 2) return null;
  const [first, last] = [samples[0] ?? 0, samples.at(-1) ?? 0];
  const shown = first === last ? `sample ${first}` : `samples ${first}–${last}`;
  return (
    <span class="mw-selector">
      <Button
        label="Previous page"
        disabled={page === 0 || !isAnswered(page - 1)}
        onClick={() => onPage(page - 1)}
      >
        ‹
      </Button>
      <span class="mw-muted">
        {shown} of {n_samples}
      </span>
      <Button
        label="Next page"
        disabled={page === n_pages - 1 || !isAnswered(page + 1)}
        onClick={() => onPage(page + 1)}
      >
        ›
      </Button>
    </span>
  );
}

export interface RangeProps {
  label: string;
  scale: ColourScale;
  range: ValueRange;
  /** What was typed; null for the data's own. */
  low: number | null;
  high: number | null;
  onChange: (low: number | null, high: number | null) => void;
}

/** The legend, and fields for its ends. */
export function Range({ label, scale, range, low, high, onChange }: RangeProps) {
  return (
    <div class="mw-row">
      <Legend label={label} map={scale.map} {...legendTicks(range)} />
      <End name="from" value={low} automatic={range.low} onChange={(value) => onChange(value, high)} />
      <End name="to" value={high} automatic={range.high} onChange={(value) => onChange(low, value)} />
    </div>
  );
}

interface EndProps {
  name: string;
  value: number | null;
  automatic: number;
  onChange: (value: number | null) => void;
}

function End({ name, value, automatic, onChange }: EndProps) {
  return (
    <label class="mw-selector">
      <span class="mw-muted">{name}</span>
      <input
        class="mw-input"
        type="number"
        step="any"
        value={value ?? ""}
        placeholder={formatNumber(automatic)}
        title={`Where the colours ${name === "from" ? "begin" : "end"}; empty for the data's own`}
        onChange={(event) => {
          const typed = event.currentTarget.valueAsNumber;
          onChange(Number.isFinite(typed) ? typed : null);
        }}
      />
    </label>
  );
}
