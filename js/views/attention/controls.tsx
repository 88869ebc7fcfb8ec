/** What is drawn, what tints it, in which order. */
import { useMemo } from "preact/hooks";
import { uniqueId } from "../../core/accessibility";
import { titleOf, useAnswers } from "../../core/answers";
import { Button } from "../../core/components";
import type { Port } from "../../core/port";
import type { UsedRequest } from "../../core/request";
import { shorten } from "../../core/tokens";
import type { Traits } from "./traits";
import { scoreName, TYPES } from "./words";

export interface ControlsProps {
  port: Port<Traits>;
  traits: Traits;
  request: UsedRequest<unknown>;
  comparing: boolean;
  onCompare: (comparing: boolean) => void;
}

export function Controls({ port, traits, request, comparing, onCompare }: ControlsProps) {
  const answers = useAnswers();
  const { attention_type, score, score_names, order } = traits;
  const id = useMemo(uniqueId, []);
  const tint = (name: string) => {
    port.set("score", name);
    if (!name) port.set("order", "layer");
  };
  return (
    <div class="mw-row mw-controls">
      <fieldset class="mw-choice" aria-label="What is drawn">
        {TYPES.map(({ value, text, title }) => (
          <button
            key={value}
            type="button"
            class="mw-button"
            title={titleOf(answers.with({ attention_type: value }), title)}
            aria-pressed={value === attention_type}
            disabled={!answers.with({ attention_type: value })}
            onClick={() => {
              if (value !== attention_type) void request.send({ attention_type: value });
            }}
          >
            {text}
          </button>
        ))}
      </fieldset>
      <span class="mw-row">
        <span class="mw-selector">
          <label class="mw-muted" for={id}>
            tint
          </label>
          <select
            id={id}
            class="mw-input"
            value={score}
            onChange={(event) => tint(event.currentTarget.value)}
          >
            <option value="">none</option>
            {score_names.map((name) => (
              <option key={name} value={name}>
                {shorten(scoreName(name), 40)}
              </option>
            ))}
          </select>
        </span>
        <button
          type="button"
          class="mw-button"
          aria-pressed={order === "score"}
          disabled={!score}
          title={score ? `The highest ${scoreName(score)} first` : "Choose a tint to sort by"}
          onClick={() => port.set("order", order === "score" ? "layer" : "score")}
        >
          sort by it
        </button>
      </span>
      <span class="mw-space" />
      {answers.live && (comparing || typeof traits.prompt === "string") && (
        <Button
          title={comparing ? "" : "Show how attention differs from that on another prompt of as many tokens"}
          onClick={() => onCompare(!comparing)}
        >
          {comparing ? "Don't compare" : "Compare…"}
        </Button>
      )}
    </div>
  );
}
