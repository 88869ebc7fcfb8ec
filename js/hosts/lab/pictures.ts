/** The code of all pictures, which JupyterLab loads when the first document is opened. */
import { openDocument } from "../../document";
import attention from "../../entries/attention";
import attribution from "../../entries/attribution";
import exercise from "../../entries/exercise";
import head from "../../entries/head";
import logit_lens from "../../entries/logit_lens";
import patching from "../../entries/patching";
import patterns from "../../entries/patterns";
import prediction from "../../entries/prediction";
import tokens from "../../entries/tokens";
import top_tokens from "../../entries/top_tokens";
import workbench from "../../entries/workbench";

const VIEWS: Readonly<Record<string, unknown>> = {
  attention,
  attribution,
  exercise,
  head,
  logit_lens,
  patching,
  patterns,
  prediction,
  tokens,
  top_tokens,
  workbench,
};

export function drawDocument(text: string, el: HTMLElement, signal: AbortSignal): Promise<void> {
  return openDocument(text, el, VIEWS, signal);
}
