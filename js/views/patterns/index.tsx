/** Attention patterns that somebody has computed: all heads small, one large. There is no model, so nothing to switch off. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import { Choice, ErrorLine, Header, StatusLine } from "../../core/components";
import { capitalized } from "../../core/format";
import { preactView, useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { colourScale, type ValueRange } from "../../core/scale";
import { Selector } from "../../core/selector";
import { useTrait } from "../../core/trait";
import { HeadMatrix, type HeadMatrixProps } from "../attention/head_matrix";
import { exactPattern, type Pattern } from "../attention/pattern";
import attentionStyle from "../attention/style.css?inline";
import { thumbnailValues } from "../attention/thumbnails";
import { TokenStrip } from "../attention/token_strip";
import type { Direction } from "../attention/traits";
import { HeadLines } from "./head_lines";
import { HeadsGrid, ScaleLegend } from "./heads_grid";
import styleText from "./style.css?inline";
import type { PatternAnswer, Traits } from "./traits";

/** In CSS pixels: from this width on the chosen head stands beside the others. */
const SIDE_BY_SIDE = 720;
const DRAWINGS = [
  { value: "matrix", text: "matrix" },
  { value: "lines", text: "lines" },
] as const;

export const patterns = preactView<Traits>(Patterns, attentionStyle + styleText);

function Patterns({ port }: { port: Port<Traits> }) {
  const traits = usePatternsTraits(port);
  const { title, model_name, sample_names, sample, head_names } = traits;
  const show = useRequest<object, Traits>(port, "show");
  const answers = useAnswers();
  const frame = useFrame();
  const range = rangeOf(traits);
  const scale = useMemo(
    () => colourScale(frame.theme.value, range),
    [frame.theme.value, ...Object.values(range)],
  );
  const several = head_names.length > 1;
  const beside = several && frame.width.value >= SIDE_BY_SIDE;
  return (
    <>
      <Header name={capitalized(traits.value_name)} modelName={model_name} title={title}>
        {sample_names.length > 1 && (
          <Selector
            name="sample"
            count={sample_names.length}
            labels={sample_names}
            value={sample}
            onChange={(chosen) => void show.send({ sample: chosen })}
            isAnswered={(chosen) => answers.with({ sample: chosen })}
          />
        )}
      </Header>
      <ErrorLine request={show} />
      <div class="mw-patterns" data-arrangement={beside ? "columns" : "stacked"}>
        {several && (
          <HeadsGrid traits={traits} scale={scale} onChoose={(chosen) => port.set("head", chosen)} />
        )}
        <HeadPanel key={traits.tokens.join("\u0000")} {...{ port, traits, scale, range }} />
      </div>
      <StatusLine
        doing="Reading the data…"
        hint={
          several
            ? "Click a head to open it; point at a token or a cell for its values."
            : "Point at a token or a cell for its values."
        }
      />
    </>
  );
}

/** All traits as plain values; a change of any draws the view again. */
function usePatternsTraits(port: Port<Traits>): Traits {
  return {
    title: useTrait(port, "title").value,
    model_name: useTrait(port, "model_name").value,
    value_name: useTrait(port, "value_name").value,
    head_names: useTrait(port, "head_names").value,
    columns: useTrait(port, "columns").value,
    causal: useTrait(port, "causal").value,
    drawing: useTrait(port, "drawing").value,
    min_value: useTrait(port, "min_value").value,
    max_value: useTrait(port, "max_value").value,
    diverging: useTrait(port, "diverging").value,
    negative_color: useTrait(port, "negative_color").value,
    positive_color: useTrait(port, "positive_color").value,
    sample_names: useTrait(port, "sample_names").value,
    tokens: useTrait(port, "tokens").value,
    thumbnails: useTrait(port, "thumbnails").value,
    thumbnail_block: useTrait(port, "thumbnail_block").value,
    sample: useTrait(port, "sample").value,
    head: useTrait(port, "head").value,
  };
}

function rangeOf(traits: Traits): ValueRange {
  return {
    low: traits.min_value,
    high: traits.max_value,
    diverging: traits.diverging,
    negativeColor: traits.negative_color,
    positiveColor: traits.positive_color,
  };
}

interface HeadPanelProps {
  port: Port<Traits>;
  traits: Traits;
  scale: ReturnType<typeof colourScale>;
  range: ValueRange;
}

/** The chosen head; another sample makes a new panel, because what was locked has no meaning there. */
function HeadPanel({ port, traits, scale, range }: HeadPanelProps) {
  const { pattern, request } = usePattern(port, traits, range);
  const name = traits.head_names[traits.head] ?? "";
  const { tokens, causal, drawing } = traits;
  const shared = { name, tokens, pattern, scale, causal, signed: traits.diverging };
  return (
    <section class="mw-head" aria-label={name}>
      <div class="mw-row">
        {traits.head_names.length > 1 && <strong>{name}</strong>}
        <span class="mw-space" />
        <Choice
          label="Drawing"
          options={DRAWINGS}
          value={drawing}
          onChange={(chosen) => port.set("drawing", chosen)}
        />
      </div>
      <ErrorLine request={request} />
      {drawing === "lines" ? <HeadLines {...shared} range={range} /> : <MatrixAndStrip {...shared} />}
      <ScaleLegend label={traits.value_name} scale={scale} range={range} />
    </section>
  );
}

type HeadDrawing = Omit<HeadMatrixProps, "direction" | "token" | "locked" | "onToken" | "onLock">;

/** Both show one token's row or column. */
function MatrixAndStrip(props: HeadDrawing) {
  const direction = useSignal<Direction>("from");
  const hovered = useSignal<number | null>(null);
  const locked = useSignal<number | null>(null);
  const token = useComputed(() => hovered.value ?? locked.value);
  const shared = {
    ...props,
    direction: direction.value,
    onToken: (at: number | null) => {
      hovered.value = at;
    },
    onLock: (at: number | null) => {
      locked.value = at;
    },
  };
  return (
    <>
      <HeadMatrix {...shared} token={token.value} locked={locked.value !== null} />
      <TokenStrip
        {...shared}
        token={token.value ?? props.tokens.length - 1}
        locked={locked.value}
        onDirection={(next) => {
          direction.value = next;
        }}
      />
    </>
  );
}

/** The chosen head's values: from its thumbnail at once, exact when the kernel has answered. */
function usePattern(port: Port<Traits>, traits: Traits, range: ValueRange) {
  const { tokens, thumbnails, thumbnail_block, sample, head } = traits;
  const request = useRequest<PatternAnswer, Traits>(port, "pattern");
  const exact = useSignal<{ of: unknown; head: number; pattern: Pattern } | null>(null);
  const ask = async () => {
    const answer = await request.send({ sample, head });
    if (answer) exact.value = { of: thumbnails, head, pattern: exactPattern(answer.pattern) };
  };
  useEffect(() => {
    void ask();
  }, [thumbnails, head]);
  const known = exact.value;
  const pattern =
    known?.of === thumbnails && known.head === head
      ? known.pattern
      : thumbnailValues({ array: thumbnails, block: thumbnail_block }, range, head, tokens.length);
  return { pattern, request };
}
