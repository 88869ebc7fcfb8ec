/** The JupyterLab extension: a command, in the palette and the launcher, that opens the quickstart notebook. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import type { Contents } from "@jupyterlab/services";
import quickstart from "../../../notebooks/quickstart.ipynb" with { type: "json" };
import { icon } from "./icon";

const COMMAND = "mechwidgets:open-quickstart";
const CATEGORY = "mechwidgets";
const FILE = "mechwidgets-quickstart.ipynb";

const plugin: JupyterFrontEndPlugin<void> = {
  id: "mechwidgets:plugin",
  description: "Opens the mechwidgets quickstart.",
  autoStart: true,
  // Everything but the application is optional: hosts without a palette or a launcher load the extension too.
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, palette: ICommandPalette | null) => {
    app.commands.addCommand(COMMAND, {
      label: (args) => (args.isLauncher ? "Quickstart" : "mechwidgets: open the quickstart"),
      caption: "Three live pictures of a language model",
      icon: (args) => (args.isPalette ? undefined : icon),
      execute: async ({ cwd }) => {
        try {
          await openQuickstart(app, typeof cwd === "string" ? cwd : "");
        } catch (error) {
          Notification.error(`mechwidgets could not open ${FILE}: ${message(error)}`, { autoClose: false });
        }
      },
    });
    palette?.addItem({ command: COMMAND, args: { isPalette: true }, category: CATEGORY });
    void addLauncherCard(app);
  },
};

/**
 * Adds a card to the launcher, where there is one. Its package is imported late: Notebook 7 does not share it, and an
 * extension that imports what a host does not share is not loaded at all.
 */
async function addLauncherCard(app: JupyterFrontEnd): Promise<void> {
  if (!app.hasPlugin("@jupyterlab/launcher-extension:plugin")) return;
  try {
    const { ILauncher } = await import("@jupyterlab/launcher");
    const launcher = await app.resolveOptionalService(ILauncher);
    launcher?.add({ command: COMMAND, args: { isLauncher: true }, category: CATEGORY });
  } catch (error) {
    Notification.warning(`mechwidgets has no card in the launcher: ${message(error)}`);
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
