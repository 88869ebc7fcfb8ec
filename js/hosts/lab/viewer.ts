/** The viewer: documents of pictures, files that end in .mw.json and outputs of notebooks, drawn without a kernel. */
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Widget } from "@lumino/widgets";

const TYPE = "application/vnd.mechwidgets.views+json";
const NAME = "mechwidgets pictures";

class Viewer extends Widget implements IRenderMime.IRenderer {
  #drawn = new AbortController();

  constructor() {
    super();
    this.node.style.cssText = "overflow: auto; padding: 0 12px";
    // JupyterLab gives what is opened the focus, with which its keys scroll it.
    this.node.tabIndex = -1;
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.#drawn.abort();
    this.#drawn = new AbortController();
    const { signal } = this.#drawn;
    const data = model.data[TYPE];
    try {
      // Nobody who opens no picture loads the code of all of them.
      const { drawDocument } = await import("./pictures.js");
      if (!signal.aborted) {
        await drawDocument(typeof data === "string" ? data : JSON.stringify(data), this.node, signal);
      }
    } catch (error) {
      this.node.textContent = `The pictures could not be drawn: ${error instanceof Error ? error.message : error}`;
    }
  }

  override dispose(): void {
    this.#drawn.abort();
    super.dispose();
  }
}

const extension: IRenderMime.IExtension = {
  id: "mechwidgets:viewer",
  description: "Shows saved mechwidgets pictures (.mw.json) without a kernel.",
  // Nothing in a document is run, so those of a notebook that nobody trusts yet are shown too.
  rendererFactory: { safe: true, mimeTypes: [TYPE], createRenderer: () => new Viewer() },
  dataType: "string",
  fileTypes: [
    {
      name: "mechwidgets",
      displayName: NAME,
      fileFormat: "text",
      mimeTypes: [TYPE],
      extensions: [".mw.json"],
    },
  ],
  documentWidgetFactoryOptions: {
    name: NAME,
    modelName: "text",
    primaryFileType: "mechwidgets",
    fileTypes: ["mechwidgets", "json"],
    defaultFor: ["mechwidgets"],
  },
};

export default extension;
