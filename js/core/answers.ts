/** Who answers: a kernel, or a document what it has recorded. What nobody answers is greyed, and says why. */
import { useFrame } from "./frame";
import { type Intervention, switchOff, toggleHead } from "./intervention";

export const NEEDS_KERNEL = "Needs a running kernel";
/** What a document says where a head is switched off. */
export const ONE_AT_A_TIME = "One head at a time: another takes its place.";

export interface Answers {
  /** A kernel does, whatever it is asked. */
  readonly live: boolean;
  /** Somebody may: a kernel, or a document. */
  readonly any: boolean;
  /** Whether this request would be answered. */
  to(name: string, args: object): boolean;
  /** Whether somebody says what the picture shows with other inputs. */
  with(inputs: object): boolean;
}

export function useAnswers(): Answers {
  const { live, recorded } = useFrame().capabilities.value;
  return {
    live,
    any: live || recorded !== undefined,
    to: (name, args) => live || (recorded?.answers(name, args) ?? false),
    with: (inputs) => live || (recorded?.shows(inputs) ?? false),
  };
}

/** For a control's title: why it cannot be used, or what it has to say by itself. */
export function titleOf(usable: boolean, title?: string): string | undefined {
  return usable ? title : NEEDS_KERNEL;
}

/**
 * The list with a head switched off, or on again. A document has few lists: where it has not this one, the head alone is
 * switched off; null where it has not that either.
 */
export function answeredToggle(
  interventions: readonly Intervention[],
  [layer, head]: readonly [number, number],
  isAnswered: (interventions: Intervention[]) => boolean,
): Intervention[] | null {
  const toggled = toggleHead(interventions, layer, head);
  if (isAnswered(toggled)) return toggled;
  const alone = [switchOff(layer, head)];
  return toggled.length > interventions.length && isAnswered(alone) ? alone : null;
}
