"""One page of JupyterLab in the browser: what a user sees and does there, and what the page asked of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import ConsoleMessage, Locator, Page

# The session of the notebook in front, or undefined while there is none yet.
SESSION = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session"
RUN_ALL = """() => {
  window.mechwidgetsRun = "running";
  window.jupyterapp.commands.execute("notebook:run-all-cells").then(
    () => { window.mechwidgetsRun = "done"; },
    (error) => { window.mechwidgetsRun = `failed: ${error}`; },
  );
}"""
CELL_ERRORS = """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells
  .flatMap((cell) => cell.outputs ?? [])
  .filter((output) => output.output_type === "error")
  .map((output) => output.traceback.join("\\n"))"""
EXECUTE = """async (code) => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  const future = kernel.requestExecute({ code, store_history: false });
  let said = "";
  future.onIOPub = (message) => { if (message.header.msg_type === "stream") said += message.content.text; };
  const { content } = await future.done;
  return { said, error: content.status === "ok" ? null : (content.traceback ?? [content.status]).join("\\n") };
}"""


class NotebookPage:
    """A notebook in JupyterLab; `page` is Playwright's own page, for all that is not here."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.console_errors: list[str] = []
        self.page_errors: list[str] = []
        page.context.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.page_errors.append(error.stack or str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(message.text)

    def goto(self, url: str) -> None:
        """Open an address of JupyterLab, and wait until it is more than a splash screen."""
        self.page.goto(url)
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate("window.jupyterapp.restored.then(() => undefined)")

    def wait_for_kernel(self) -> None:
        """Wait until the notebook's kernel is ready to run a cell."""
        self.page.wait_for_function(f"{SESSION}?.kernel?.status === 'idle'", timeout=60_000)

    def run_all_cells(self, timeout: float = 120) -> None:
        """Run the notebook; a cell that raises fails the test with its traceback."""
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function("window.mechwidgetsRun !== 'running'", timeout=timeout * 1000)
        errors = self.page.evaluate(CELL_ERRORS)
        outcome = self.page.evaluate("window.mechwidgetsRun")
        assert not errors, "a cell raised:\n" + "\n".join(errors)
        assert outcome == "done", f"running all cells {outcome}"

    def execute(self, code: str) -> str:
        """Run code in the notebook's kernel, beside its cells, and return what it prints."""
        result = self.page.evaluate(EXECUTE, code)
        assert result["error"] is None, f"the kernel raised:\n{result['error']}"
        return str(result["said"])

    def command(self, name: str, arguments: dict[str, object] | None = None) -> None:
        """Execute a JupyterLab command, and wait for its end."""
        script = "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => undefined)"
        self.page.evaluate(script, [name, arguments or {}])

    def save_with_pictures(self) -> str:
        """Save the notebook and in it the state of its widgets; returns its path on the server."""
        toggle = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
        self.command(toggle)
        try:
            self.command("docmanager:save")
        finally:
            self.command(toggle)
        return str(self.page.evaluate("window.jupyterapp.shell.currentWidget.context.path"))

    def set_theme(self, theme: str) -> None:
        """Change JupyterLab's theme ("JupyterLab Light" or "JupyterLab Dark"), and wait until it is there."""
        if self.page.evaluate("document.body.dataset.jpThemeName") != theme:
            self.command("apputils:change-theme", {"theme": theme})
        self.page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")

    def view(self, kind: str, index: int = 0) -> Locator:
        """The picture of a kind: "attention", "logit_lens" or "patching"."""
        return self.page.locator(f".mechwidgets[data-view='{kind}']").nth(index)

    def wait_for_view(self, kind: str, index: int = 0, state: str = "ready") -> Locator:
        """Wait until a picture is in a state, scroll to it, and return it."""
        view = self.view(kind, index)
        view.and_(self.page.locator(f"[data-state='{state}']")).wait_for(state="attached", timeout=30_000)
        view.scroll_into_view_if_needed()
        return view

    def screenshot(self, path: Path) -> None:
        """Save what the window shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)

    def external_requests(self) -> list[str]:
        """What the page asked of any other machine than this one."""
        return [url for url in self.requests if not is_local(url)]

    def check(self) -> None:
        """What holds for every page: it asks no other machine for anything, and no script of it breaks."""
        assert not self.external_requests(), f"requests left this machine: {self.external_requests()}"
        assert not self.page_errors, "uncaught errors in the page:\n" + "\n".join(self.page_errors)


def is_local(url: str) -> bool:
    """Whether an address stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about", "chrome"} or parts.hostname == "127.0.0.1"
