/** The table of the chosen site, as a map or ranked, with what is chosen in it. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Button, Choice } from "../../core/components";
import type { Port } from "../../core/port";
import { Select } from "../../core/select";
import { useTrait } from "../../core/trait";
import { flatIndex, placesOf, type Sheet, sheets } from "./axes";
import type { Details } from "./details";
import { BarList, Heatmap, useCellLabels, useRanking } from "./matrix";
import { PinList } from "./pin_list";
import { usePins } from "./pins";
import { strongestCell, usePlaces } from "./places";
import type { Scale } from "./scale";
import type { Table } from "./sweep";
import type { Traits } from "./traits";
import { axisLabels, cellName, isListed, placeName, type Tokens, valueText } from "./words";

const SCALES = [
  { value: "normalized", text: "normalised" },
  { value: "raw", text: "raw" },
] as const;

/** So many bars are a list that somebody reads. */
const MOST_RANKED = 100;

export interface TableViewProps {
  port: Port<Traits>;
  table: Table;
  scale: Scale;
  details: Details;
}

export function TableView({ port, table, scale, details }: TableViewProps) {
  const tokens = useTokens(port);
  const places = usePlaces(port);
  const pins = usePins(port, table);
  const order = useSignal<"map" | "ranked">("map");
  const way = useSignal(0);
  const ways = useMemo(() => sheets(table.axes), [table.axes]);
  const sheet = ways[way.value] ?? ways[0];
  const strongest = useMemo(() => strongestCell(table, scale.base), [table, scale.base]);
  if (!sheet || table.axes.length === 0) return null;

  const cuts = table.axes.map((axis, at) => places.at(axis) ?? strongest[at] ?? 0);
  const chosenPlaces = table.axes.map((axis, at) => {
    const isShown = at === sheet.rows || at === sheet.cols || order.value === "ranked";
    return isShown && axis.values.length > 1 ? places.at(axis) : (cuts[at] ?? 0);
  });
  const chosen = chosenPlaces.includes(null) ? null : flatIndex(table.axes, chosenPlaces as number[]);
  const common = {
    ...{ table, scale, details, tokens, chosen },
    describe: (index: number) =>
      `${describeCell({ table, scale, details, tokens }, index)}${pins.has(index) ? "; pinned" : ""}`,
    marks: {
      dotted: (index: number) => details.exact(index) !== null || details.isShown(index),
      pinned: pins.has,
    },
    onChoose: (index: number) => {
      if (table.absent[index]) return;
      if (pins.isLive) pins.toggle(index);
      if (index === chosen && !pins.isLive) places.clear(shownAxes(sheet));
      else places.choose(axisPlaces(table, index));
    },
    onUnlock: () => {
      if (chosen !== null && pins.has(chosen)) pins.toggle(chosen);
      else if (chosen === null && pins.list.length > 0) pins.drop(pins.list.length - 1);
      places.clear(shownAxes(sheet));
    },
  };
  return (
    <>
      <div class="mw-sheet">
        {!table.axes.some(({ name }) => isListed(name)) && (
          <Choice
            label="Order"
            options={[
              { value: "map", text: sheet.cols === null ? "in order" : "map" },
              { value: "ranked", text: "ranked" },
            ]}
            value={order.value}
            onChange={(value) => {
              order.value = value;
            }}
          />
        )}
        {ways.length > 1 && order.value === "map" && (
          <Select
            label="Map"
            options={ways.map(({ rows, cols }, at) => ({
              value: String(at),
              text: `${nameOf(table, rows)} × ${nameOf(table, cols)}`,
            }))}
            value={String(way.value)}
            onChange={(chosen) => {
              way.value = Number(chosen);
            }}
          />
        )}
        {order.value === "map" &&
          sheet.cut.map((at) => (
            <Cut key={at} {...{ table, at, tokens }} place={cuts[at] ?? 0} onChange={places.choose} />
          ))}
        <Fixed table={table} tokens={tokens} />
        <span class="mw-space" />
        {scale.normalizable && (
          <Choice
            label="Scale"
            options={SCALES}
            value={scale.unit}
            onChange={(unit) => port.set("scale", unit)}
          />
        )}
      </div>
      {order.value === "ranked" ? (
        <Ranked {...common} />
      ) : sheet.cols === null ? (
        <Line {...common} sheet={sheet} />
      ) : (
        <Heatmap {...common} sheet={sheet} cuts={cuts} />
      )}
      <ChosenLine
        text={chosen === null ? null : common.describe(chosen)}
        isPinning={pins.isLive}
        onClear={() => places.clear(shownAxes(sheet))}
      />
      <PinList pins={pins} scale={scale} tokens={tokens} />
    </>
  );
}

type Common = Omit<Parameters<typeof BarList>[0], "indices" | "labels" | "title">;

function Ranked(props: Common) {
  const indices = useRanking(props.table, props.scale.base, MOST_RANKED);
  const labels = useCellLabels(props.table, indices, props.tokens);
  return <BarList {...props} indices={indices} labels={labels} title="cell" />;
}

/** One axis, in its own order. */
function Line({ sheet, ...props }: Common & { sheet: Sheet }) {
  const axis = props.table.axes[sheet.rows];
  const indices = useMemo(() => Array.from(props.table.values.keys()), [props.table.values.length]);
  const labels = useMemo(() => (axis ? axisLabels(axis, props.tokens) : []), [axis, props.tokens]);
  return <BarList {...props} indices={indices} labels={labels} title={axis?.name ?? ""} />;
}

function Cut(props: {
  table: Table;
  at: number;
  tokens: Tokens;
  place: number;
  onChange: (chosen: [Table["axes"][number], number][]) => void;
}) {
  const axis = props.table.axes[props.at];
  if (!axis) return null;
  return (
    <Select
      label={axis.name}
      options={axis.values.map((_, place) => ({
        value: String(place),
        text: placeName(axis, place, props.tokens).slice(axis.name.length + 1),
      }))}
      value={String(props.place)}
      onChange={(place) => props.onChange([[axis, Number(place)]])}
    />
  );
}

/** Axes of one place: it is the same in all cells. */
function Fixed({ table, tokens }: { table: Table; tokens: Tokens }) {
  const fixed = table.axes.filter(({ values }) => values.length === 1);
  if (fixed.length === 0) return null;
  return <span class="mw-muted">at {fixed.map((axis) => placeName(axis, 0, tokens)).join(", ")}</span>;
}

function ChosenLine(props: { text: string | null; isPinning: boolean; onClear: () => void }) {
  const hint = props.isPinning
    ? "Click a cell, or press Enter on it, to pin it; several that are pinned run together."
    : "Click a cell, or press Enter on it, to keep its values here.";
  return (
    <div class="mw-chosen">
      {props.text === null ? (
        <span class="mw-muted">{hint}</span>
      ) : (
        <>
          <span>
            <span class="mw-muted">chosen</span> {props.text}
          </span>
          {!props.isPinning && <Button onClick={props.onClear}>Clear</Button>}
        </>
      )}
    </div>
  );
}

export function useTokens(port: Port<Traits>): Tokens {
  const clean = useTrait(port, "clean_tokens").value;
  const corrupted = useTrait(port, "corrupted_tokens").value;
  return useMemo(() => ({ clean, corrupted }), [clean, corrupted]);
}

interface Cells {
  readonly table: Table;
  readonly scale: Scale;
  readonly details: Details;
  readonly tokens: Tokens;
}

function describeCell({ table, scale, details, tokens }: Cells, index: number): string {
  const name = cellName(table.axes, index, tokens);
  if (table.absent[index]) return `${name}: the model has none there`;
  const value = table.done[index] ? (table.values[index] ?? Number.NaN) : null;
  const more = details.text(index);
  return `${name} → ${valueText(value, scale)}${more && `; ${more}`}`;
}

function shownAxes({ axes, rows, cols }: Sheet) {
  return axes.filter((_, at) => at === rows || at === cols);
}

function axisPlaces({ axes }: Table, index: number) {
  const places = placesOf(axes, index);
  return axes.map((axis, at) => [axis, places[at] ?? 0] as const);
}

function nameOf({ axes }: Table, at: number | null): string {
  return at === null ? "" : (axes[at]?.name ?? "");
}
