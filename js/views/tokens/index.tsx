/** Text coloured by a value of each token; which value, and of which samples, is the reader's to choose. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import { ErrorLine, Header, StatusLine } from "../../core/components";
import { capitalized, formatNumber } from "../../core/format";
import { preactView, useFrame, useTables } from "../../core/frame";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { colourScale } from "../../core/scale";
import { quoteToken } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import { Pager, Range, Selectors } from "./controls";
import { columnName, type Page, pageRange, pageTable, readPage } from "./page";
import { Panel } from "./panel";
import styleText from "./style.css?inline";
import { Text } from "./text";
import type { Traits } from "./traits";

/** In CSS pixels: from this width on the token's numbers stand beside the text. */
const SIDE_BY_SIDE = 720;

export const tokens = preactView<Traits>(Tokens, styleText);

function Tokens({ port }: { port: Port<Traits> }) {
  const traits = useTokensTraits(port);
  const { content, dimensions, index, value_name } = traits;
  const show = useRequest<object, Traits>(port, "show");
  const answers = useAnswers();
  const shownIndex = content.columns > 1 ? index : content.index;
  const page = useMemo(() => readPage(content, dimensions, shownIndex), [content, dimensions, shownIndex]);
  const theme = useFrame().theme.value;
  const range = pageRange(page, traits);
  const scale = useMemo(() => colourScale(theme, range), [theme, ...Object.values(range)]);
  useTables({ [value_name]: () => pageTable(page, traits) });
  const choose = (wanted: number[]) => {
    // All values are here already; the kernel only hears of it.
    if (content.columns > 1) port.set("index", wanted);
    else void show.send({ index: wanted, page: 0 });
  };
  return (
    <>
      <Header name={capitalized(value_name)} modelName={traits.model_name} title={traits.title}>
        <Selectors
          {...{ dimensions }}
          index={shownIndex}
          onIndex={choose}
          isAnswered={(wanted) => content.columns > 1 || answers.with({ index: wanted, page: 0 })}
        />
        <Pager
          content={content}
          onPage={(wanted) => void show.send({ index, page: wanted })}
          isAnswered={(wanted) => answers.with({ index, page: wanted })}
        />
      </Header>
      <ErrorLine request={show} />
      <Reader key={`${content.page} ${content.index}`} {...{ page, traits, scale }} />
      <Range
        label={
          dimensions.length > 0
            ? `${value_name}: ${columnName(columnAt(page, traits), dimensions)}`
            : value_name
        }
        scale={scale}
        range={range}
        low={traits.min_value}
        high={traits.max_value}
        onChange={(low, high) => {
          port.set("min_value", low);
          port.set("max_value", high);
        }}
      />
      <StatusLine
        doing="Reading the data…"
        hint="Point at a token or walk with the arrow keys; a click or Enter locks it."
      />
    </>
  );
}

/** All traits as plain values; a change of any draws the view again. */
function useTokensTraits(port: Port<Traits>): Traits {
  return {
    title: useTrait(port, "title").value,
    model_name: useTrait(port, "model_name").value,
    value_name: useTrait(port, "value_name").value,
    dimensions: useTrait(port, "dimensions").value,
    min_value: useTrait(port, "min_value").value,
    max_value: useTrait(port, "max_value").value,
    diverging: useTrait(port, "diverging").value,
    negative_color: useTrait(port, "negative_color").value,
    positive_color: useTrait(port, "positive_color").value,
    index: useTrait(port, "index").value,
    page: useTrait(port, "page").value,
    content: useTrait(port, "content").value,
  };
}

/** The text and the token's numbers; another page makes a new one, because what was locked has no meaning there. */
function Reader({
  page,
  traits,
  scale,
}: {
  page: Page;
  traits: Traits;
  scale: ReturnType<typeof colourScale>;
}) {
  const frame = useFrame();
  const hovered = useSignal<number | null>(null);
  const locked = useSignal<number | null>(null);
  const current = Math.min(hovered.value ?? locked.value ?? 0, Math.max(0, page.tokens.length - 1));
  const point = (token: number | null) => {
    hovered.value = token;
    frame.status.value = token === null ? "" : sentence(page, traits, token);
  };
  const detailed = page.content.columns > 1 || page.content.candidates !== null;
  return (
    <div
      class="mw-reader"
      data-arrangement={detailed && frame.width.value >= SIDE_BY_SIDE ? "columns" : "stacked"}
    >
      <Text
        {...{ page, scale, current }}
        marked={detailed || hovered.value !== null || locked.value !== null}
        locked={locked.value}
        onPoint={point}
        onLock={(token) => {
          locked.value = token;
        }}
      />
      {detailed && page.tokens.length > 0 && (
        <Panel
          page={page}
          dimensions={traits.dimensions}
          valueName={traits.value_name}
          token={hovered.value ?? current}
          locked={locked.value !== null}
        />
      )}
    </div>
  );
}

/** As "' Mary', position 4: loss 2.31". */
function sentence(page: Page, { value_name }: Traits, token: number): string {
  const { sample, position } = page.place(token);
  const where =
    page.content.n_samples > 1 ? `sample ${sample}, position ${position}` : `position ${position}`;
  const { candidates } = page.content;
  const rank = candidates ? `, rank ${candidates.ranks.data[token]}` : "";
  return `${quoteToken(page.tokens[token] ?? "")}, ${where}: ${value_name} ${formatNumber(page.value(token))}${rank}`;
}

function columnAt(page: Page, { dimensions }: Traits): number {
  if (page.content.columns > 1) return page.column;
  return dimensions.reduce((column, { size }, axis) => column * size + (page.content.index[axis] ?? 0), 0);
}
