"""A real JupyterLab and a real Chromium, for tests that do what a user does.

Both are private to the tests: the server's settings lie in a temporary folder, and nothing but 127.0.0.1 can be reached.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import nbformat

from tests.e2e.notebook_page import NotebookPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
}


class JupyterServer:
    """A JupyterLab that serves one folder; started by `start`, ended by `stop`."""

    def __init__(self, home: Path) -> None:
        self.root = home / "notebooks"
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._home = home
        self._log = home / "jupyter.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and return once it answers."""
        self.root.mkdir(parents=True)
        self._write_settings()
        command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
        command += [f"--{app}.expose_app_in_browser=True" for app in ("LabApp", "JupyterNotebookApp")]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"]
        command += [f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.root, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"JupyterLab did not start. It said:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and its kernels."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def api(self, path: str, method: str = "GET") -> Any:
        """Ask the server's REST interface."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
            body = response.read()
        return json.loads(body) if body else None

    def end_kernel(self, notebook: str) -> None:
        """Shut down the kernel of a notebook: each holds a whole model."""
        for session in self.api("sessions"):
            if session["path"] == notebook:
                self.api(f"sessions/{session['id']}", "DELETE")

    def _answers(self) -> bool:
        try:
            self.api("status")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True

    def _write_settings(self) -> None:
        for name, values in SETTINGS.items():
            path = self._home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def _environment(self) -> dict[str, str]:
        private = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        nowhere = "http://127.0.0.1:9"  # the discard port: what a kernel asks of the network fails at once
        return {
            **os.environ,
            **{name: str(self._home / folder) for name, folder in private.items()},
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "http_proxy": nowhere,
            "https_proxy": nowhere,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }


class Lab:
    """What a test has in its hands: a running JupyterLab, and a browser to open its notebooks in."""

    def __init__(self, server: JupyterServer, browser: Browser) -> None:
        self.server = server
        self.open_pages: list[NotebookPage] = []
        self.browser = browser

    @contextmanager
    def open_notebook(
        self,
        cells: Sequence[str] | Path,
        *,
        run: bool = True,
        dark: bool = False,
        scale: float = 1,
        width: int = 1280,
        height: int = 1000,
        app: str = "lab",
    ) -> Iterator[NotebookPage]:
        """Open a new notebook in a browser of its own, and run it.

        Args:
            cells: the code of its cells, or the path of a notebook to copy.
            run: run all cells, and fail if one raises.
            dark: use JupyterLab's dark theme.
            scale: device pixels for each CSS pixel.
            width: of the window, in CSS pixels.
            height: of the window, in CSS pixels.
            app: "lab", or "notebook" for Notebook 7.
        """
        name = f"test-{secrets.token_hex(4)}.ipynb"
        _write_notebook(cells, self.server.root / name)
        path = f"tree/{name}" if app == "lab" else name
        with self.open_page(path, scale=scale, width=width, height=height, app=app) as page:
            page.wait_for_kernel()
            page.set_theme("JupyterLab Dark" if dark else "JupyterLab Light")  # the server remembers the last one
            if run:
                page.run_all_cells()
            yield page

    @contextmanager
    def open_page(
        self, path: str = "", *, scale: float = 1, width: int = 1280, height: int = 1000, app: str = "lab"
    ) -> Iterator[NotebookPage]:
        """Open JupyterLab in a new workspace, so that no earlier tab comes back (`path` as in `tree/x.ipynb`), or a notebook in Notebook 7."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale, reduced_motion="reduce"
        )
        context.set_default_timeout(20_000)
        page = NotebookPage(context.new_page())
        self.open_pages.append(page)
        before = {session["path"] for session in self.server.api("sessions")}
        folder = f"lab/workspaces/{secrets.token_hex(4)}" if app == "lab" else "notebooks"
        try:
            page.goto(f"{self.server.url}/{folder}/{path}?token={self.server.token}")
            yield page
            page.check()
        finally:
            self.open_pages.remove(page)
            context.close()
            for path_ in {session["path"] for session in self.server.api("sessions")} - before:
                self.server.end_kernel(path_)


def _write_notebook(cells: Sequence[str] | Path, path: Path) -> None:
    if not isinstance(cells, (list, tuple)):
        path.write_bytes(cells.read_bytes())
        return
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
