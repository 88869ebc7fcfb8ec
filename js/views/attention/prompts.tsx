/** What the picture is about: a prompt to edit, and another one to subtract; or a list of prompts. */
import { ErrorLine, type Field, PromptForm } from "../../core/components";
import type { UsedRequest } from "../../core/request";
import type { Traits } from "./traits";

export interface PromptsProps {
  traits: Traits;
  request: UsedRequest<unknown>;
  /** There is a prompt to subtract, or room for one. */
  comparing: boolean;
}

/** Many prompts are set from Python; here they are shown. */
export function Prompts({ traits, request, comparing }: PromptsProps) {
  const { prompt, compare } = traits;
  if ([prompt, compare].some((one) => Array.isArray(one))) {
    return (
      <>
        <PromptList label={comparing ? "First" : "Prompts"} prompts={listed(prompt)} />
        {compare.length > 0 && <PromptList label="Second" prompts={listed(compare)} />}
        <ErrorLine request={request} />
      </>
    );
  }
  const fields: Field[] = [{ name: "prompt", label: comparing ? "First" : "Prompt", value: String(prompt) }];
  if (comparing) fields.push({ name: "compare", label: "Second", value: String(compare) });
  return <PromptForm fields={fields} request={request} />;
}

function PromptList({ label, prompts }: { label: string; prompts: readonly string[] }) {
  const [first = "", ...others] = prompts;
  return (
    <details class="mw-prompts">
      <summary>
        <span class="mw-muted">{label}</span> <span class="mw-code">{first}</span>
        {others.length > 0 && <span class="mw-muted"> and {others.length} more: the mean is shown</span>}
      </summary>
      <ol class="mw-code">
        {prompts.map((text, index) => (
          <li key={index}>{text}</li>
        ))}
      </ol>
    </details>
  );
}

function listed(prompt: string | readonly string[]): readonly string[] {
  return typeof prompt === "string" ? [prompt] : prompt;
}
