/** What becomes of some tokens at one position, layer after layer. */
import { useSignal } from "@preact/signals";
import { useState } from "preact/hooks";
import { Button, Choice, ErrorLine } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame, useTables } from "../../core/frame";
import { LinePlot, type PlotLine, seriesColour } from "../../core/line_plot";
import { matrixTable, type Table } from "../../core/table";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { type Column, type Following, lineValues } from "./column";
import type { Lens } from "./lens";
import type { Place } from "./place";
import { positionTokens, rowName } from "./words";

type Quantity = "probability" | "rank" | "logit";
const QUANTITIES = [
  { value: "probability", text: "probability" },
  { value: "rank", text: "rank" },
  { value: "logit", text: "logit" },
] as const;

export interface FollowProps {
  lens: Lens;
  place: Place;
  following: Following;
  /** Colours the cells by this token's numbers. */
  onTarget: (id: number | "") => void;
}

export function Follow({ lens, place, following, onTarget }: FollowProps) {
  const quantity = useSignal<Quantity>("probability");
  const { live } = useFrame().capabilities.value;
  const { column } = following;
  const title = `position ${place.shown.col} ${positionTokens(lens, place.shown.col, tokenLabel)}`;
  return (
    <section class="mw-follow" aria-label="Tokens through the layers">
      <div class="mw-lens-title">
        <span>
          <strong>Through the layers</strong> <span class="mw-muted">{title}</span>
        </span>
        <Choice
          label="What is plotted"
          options={QUANTITIES}
          value={quantity.value}
          onChange={(chosen) => {
            quantity.value = chosen;
          }}
        />
      </div>
      {column && <Plot {...{ lens, place, column }} quantity={quantity.value} />}
      {column && <Followed {...{ lens, place, column, following, onTarget }} quantity={quantity.value} />}
      {live ? <TokenForm following={following} /> : <ErrorLine request={following.request} />}
      {!live && !column && <div class="mw-muted">Following a token takes a running kernel.</div>}
    </section>
  );
}

interface PartProps {
  lens: Lens;
  place: Place;
  column: Column;
  quantity: Quantity;
}

function Plot({ lens, place, column, quantity }: PartProps) {
  const { ids, texts } = column.answer;
  const lines = lens.prompts.flatMap((_, prompt) =>
    ids.map((id, token): PlotLine => {
      const values = lineValues(column, quantity, prompt, token);
      return {
        name: `${prompt} ${id}`,
        colour: token,
        dashed: prompt > 0,
        values: quantity === "rank" ? values.map(rankHeight) : values,
      };
    }),
  );
  const names = texts.map(quoteToken).join(", ");
  return (
    <LinePlot
      label={`${quantity} of ${names} from ${rowName(lens, 0)} to the output; the values at the marked row are listed below`}
      lines={lines}
      places={lens.rowLabels.map((label) => (label === "embed" ? "emb" : label === "output" ? "out" : label))}
      {...axis(quantity, lines)}
      marked={place.hovered.value?.row ?? place.shown.row}
      onHover={(row) => {
        place.hovered.value = row === null ? null : { row, col: place.shown.col };
      }}
    />
  );
}

/** High ranks lie low, on a logarithmic scale. */
function rankHeight(rank: number): number {
  return -Math.log10(1 + rank);
}

function axis(quantity: Quantity, lines: readonly PlotLine[]) {
  const values = lines.flatMap((line) => line.values).filter(Number.isFinite);
  if (quantity === "probability") {
    const ticks = [0, 0.5, 1].map((value) => ({ value, text: String(value) }));
    return { domain: [0, 1] as const, ticks };
  }
  if (quantity === "rank") {
    const low = Math.min(-1, ...values);
    const ranks = [0, 9, 99, 999, 9999, 99_999].filter((rank) => rankHeight(rank) >= low - 0.01);
    return {
      domain: [low, 0] as const,
      ticks: ranks.map((rank) => ({ value: rankHeight(rank), text: formatNumber(rank) })),
    };
  }
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const ticks = [...new Set([low, 0, high])].map((value) => ({ value, text: formatNumber(value) }));
  return { domain: [low, high] as const, ticks };
}

function Followed({
  lens,
  place,
  column,
  quantity,
  following,
  onTarget,
}: PartProps & Pick<FollowProps, "following" | "onTarget">) {
  const row = place.hovered.value?.row ?? place.shown.row;
  const { live } = useFrame().capabilities.value;
  useTables({ [`${quantity} through the layers`]: () => followedTable(lens, column, quantity) });
  return (
    <ul class="mw-followed" aria-label={`${quantity}: ${rowName(lens, row)}`}>
      {column.answer.ids.map((id, token) => {
        const text = column.answer.texts[token] ?? "";
        const isTarget = lens.hasTarget && lens.target(0) === text;
        const values = lens.prompts.map((_, prompt) =>
          formatNumber(lineValues(column, quantity, prompt, token)[row] ?? Number.NaN),
        );
        return (
          <li key={id}>
            <span class="mw-swatch" style={{ color: seriesColour(token) }} aria-hidden="true" />
            <span class="mw-followed-token mw-code" title={quoteToken(text)}>
              {tokenLabel(text)}
            </span>
            <span class="mw-followed-value">{values.join(" / ")}</span>
            {live && (
              <button
                type="button"
                class="mw-button mw-small"
                aria-pressed={isTarget}
                aria-label={`Colour the cells by ${quoteToken(text)}`}
                title="Colour the cells by the rank or probability of this token"
                onClick={() => onTarget(isTarget ? "" : id)}
              >
                colour
              </button>
            )}
            {live && column.answer.ids.length > 1 && (
              <Button label={`Stop following ${quoteToken(text)}`} onClick={() => following.toggle(id)}>
                ×
              </Button>
            )}
          </li>
        );
      })}
      {lens.compares && <li class="mw-muted">solid: first prompt, dashed: second prompt</li>}
    </ul>
  );
}

/** A row for each row of the lens, a column for each token (of each prompt). */
function followedTable(lens: Lens, column: Column, quantity: Quantity): Table {
  const lines = lens.prompts.flatMap((_, prompt) =>
    column.answer.texts.map((text, token) => ({
      name: lens.compares ? `${text} (${prompt === 0 ? "first" : "second"})` : text,
      values: lineValues(column, quantity, prompt, token),
    })),
  );
  const names = lines.map(({ name }) => name);
  return matrixTable("row", lens.rowLabels, names, (row, line) => lines[line]?.values[row] ?? null);
}

function TokenForm({ following }: { following: Following }) {
  const [text, setText] = useState("");
  const submit = async (event: Event) => {
    event.preventDefault();
    if (text !== "" && (await following.type(text))) setText("");
  };
  return (
    <>
      <form class="mw-prompt" onSubmit={submit}>
        <label class="mw-field">
          <span class="mw-muted">Follow</span>
          <input
            class="mw-input mw-code"
            name="follow"
            placeholder="a token, such as ' Paris'"
            value={text}
            disabled={following.full}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <button class="mw-button" type="submit" disabled={following.full}>
          Add
        </button>
      </form>
      {following.full && <div class="mw-muted">Five are followed; take one away to follow another.</div>}
      <ErrorLine request={following.request} />
    </>
  );
}
