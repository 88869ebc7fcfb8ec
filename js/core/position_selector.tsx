/** Behind which token of the prompt the next one is read. */
import { useMemo } from "preact/hooks";
import { useAnswers } from "./answers";
import type { Port } from "./port";
import { Selector } from "./selector";
import { tokenLabel } from "./tokens";
import { useTrait } from "./trait";

interface PositionTraits {
  tokens: string[];
  /** null for the end. */
  position: number | null;
}

export function PositionSelector({ port }: { port: Port<PositionTraits> }) {
  const answers = useAnswers();
  const tokens = useTrait(port, "tokens").value;
  const position = useTrait(port, "position").value;
  const labels = useMemo(() => tokens.map((token, at) => `${at} ${tokenLabel(token)}`), [tokens]);
  return (
    <Selector
      name="after position"
      count={tokens.length}
      labels={labels}
      value={position ?? tokens.length - 1}
      onChange={(at) => port.set("position", at)}
      isAnswered={(at) => answers.with({ position: at })}
    />
  );
}
