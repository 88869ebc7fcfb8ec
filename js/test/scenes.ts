/** The scenes that screenshots are taken of: a view, its data, and what a reader has done to it. */
import type { View } from "../core/mount";
import type { Port } from "../core/port";
import { SCENES as attention } from "../views/attention/scenes";
import { SCENES as attribution } from "../views/attribution/scenes";
import { SCENES as exercise } from "../views/exercise/scenes";
import { SCENES as head } from "../views/head/scenes";
import { SCENES as logitLens } from "../views/logit_lens/scenes";
import { SCENES as patching } from "../views/patching/scenes";
import { SCENES as patterns } from "../views/patterns/scenes";
import { SCENES as prediction } from "../views/prediction/scenes";
import { SCENES as tokens } from "../views/tokens/scenes";
import { SCENES as topTokens } from "../views/top_tokens/scenes";
import { SCENES as workbench } from "../views/workbench/scenes";

export type Show = <Traits extends object>(kind: string, view: View<Traits>, port: Port<Traits>) => void;
export type Scene = (host: HTMLElement, show: Show) => void;

export const SCENES: Readonly<Record<string, Scene>> = {
  ...attention,
  ...attribution,
  ...head,
  ...exercise,
  ...logitLens,
  ...patching,
  ...patterns,
  ...prediction,
  ...tokens,
  ...topTokens,
  ...workbench,
};
