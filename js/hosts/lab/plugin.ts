/** The JupyterLab extension: commands, in the palette and the launcher, that open the quickstart and a new workbench. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import type { Contents } from "@jupyterlab/services";
import quickstart from "../../../notebooks/quickstart.ipynb" with { type: "json" };
import workbench from "../../../notebooks/workbench.ipynb" with { type: "json" };
import { icon } from "./icon";

const CATEGORY = "mechwidgets";
const FILE = "mechwidgets-quickstart.ipynb";

interface Command {
  id: string;
  /** In the launcher, where the category stands above it. */
  name: string;
  label: string;
  caption: string;
  open(app: JupyterFrontEnd, folder: string): Promise<void>;
}

const COMMANDS: readonly Command[] = [
  {
    id: "mechwidgets:new-workbench",
    name: "Workbench",
    label: "mechwidgets: new workbench",
    caption: "A new notebook with the pictures of a language model around one prompt",
    open: openWorkbench,
  },
  {
    id: "mechwidgets:open-quickstart",
    name: "Quickstart",
    label: "mechwidgets: open the quickstart",
    caption: "Live pictures of a language model, one by one",
    open: openQuickstart,
  },
];

const plugin: JupyterFrontEndPlugin<void> = {
  id: "mechwidgets:plugin",
  description: "Opens the mechwidgets quickstart, and new notebooks with a workbench.",
  autoStart: true,
  // Everything but the application is optional: hosts without a palette or a launcher load the extension too.
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, palette: ICommandPalette | null) => {
    for (const { id, name, label, caption, open } of COMMANDS) {
      app.commands.addCommand(id, {
        label: (args) => (args.isLauncher ? name : label),
        caption,
        icon: (args) => (args.isPalette ? undefined : icon),
        execute: async ({ cwd }) => {
          try {
            await open(app, typeof cwd === "string" ? cwd : "");
          } catch (error) {
            Notification.error(`mechwidgets could not open the ${name.toLowerCase()}: ${message(error)}`, {
              autoClose: false,
            });
          }
        },
      });
      palette?.addItem({ command: id, args: { isPalette: true }, category: CATEGORY });
    }
    void addLauncherCards(app);
  },
};

/**
 * Adds cards to the launcher, where there is one. Its package is imported late: Notebook 7 does not share it, and an
 * extension that imports what a host does not share is not loaded at all.
 */
async function addLauncherCards(app: JupyterFrontEnd): Promise<void> {
  if (!app.hasPlugin("@jupyterlab/launcher-extension:plugin")) return;
  try {
    const { ILauncher } = await import("@jupyterlab/launcher");
    const launcher = await app.resolveOptionalService(ILauncher);
    for (const [rank, { id }] of COMMANDS.entries()) {
      launcher?.add({ command: id, args: { isLauncher: true }, category: CATEGORY, rank });
    }
  } catch (error) {
    Notification.warning(`mechwidgets has no cards in the launcher: ${message(error)}`);
  }
}

/** Opens the user's own copy of the quickstart, and makes it if there is none; an edited one is never overwritten. */
async function openQuickstart(app: JupyterFrontEnd, folder: string): Promise<void> {
  const { contents } = app.serviceManager;
  const path = folder ? `${folder}/${FILE}` : FILE;
  if (!(await exists(contents, path))) {
    await contents.save(path, { type: "notebook", format: "json", content: quickstart });
  }
  await app.commands.execute("docmanager:open", { path });
}

/** Opens a new notebook with a workbench, and runs it: that is what the reader has asked for. */
async function openWorkbench(app: JupyterFrontEnd, folder: string): Promise<void> {
  const { contents } = app.serviceManager;
  const { path } = await contents.newUntitled({ path: folder, type: "notebook" });
  await contents.save(path, { type: "notebook", format: "json", content: workbench });
  const opened: unknown = await app.commands.execute("docmanager:open", { path });
  // Notebook 7 opens it in a tab of the browser, where this page runs nothing.
  if (!isNotebook(opened)) return;
  await opened.sessionContext.ready;
  await app.commands.execute("notebook:run-all-cells");
}

interface Opened {
  /** Ready once a kernel runs, or the reader wants none. */
  sessionContext: { ready: Promise<void> };
}

function isNotebook(opened: unknown): opened is Opened {
  return typeof opened === "object" && opened !== null && "sessionContext" in opened;
}

async function exists(contents: Contents.IManager, path: string): Promise<boolean> {
  try {
    await contents.get(path, { content: false });
    return true;
  } catch (error) {
    if (error instanceof Error && "response" in error && error.response instanceof Response) {
      if (error.response.status === 404) return false;
    }
    throw error;
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export default plugin;
