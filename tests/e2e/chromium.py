"""Find a Chromium to test in, and get one where there is none.

`python -m tests.e2e.chromium` prints its path, after installing it if need be: from apt as root, else Playwright's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_GET_ONE = (
    "No Chromium was found (looked for $CHROMIUM_PATH, "
    + ", ".join(NAMES)
    + " on PATH, and Playwright's own). Install one with `apt-get install chromium` as root, or with "
    "`python -m playwright install --with-deps chromium`, or set CHROMIUM_PATH to the one you have."
)


def find_chromium() -> str | None:
    """The path of a Chromium that starts, or None."""
    chosen = os.environ.get("CHROMIUM_PATH")
    if chosen:
        if not starts(chosen):
            sys.exit(f"CHROMIUM_PATH is {chosen!r}, which does not start (tried with --version).")
        return chosen
    candidates = [*(shutil.which(name) for name in NAMES), playwright_chromium()]
    return next((path for path in candidates if path and starts(path)), None)


def playwright_chromium() -> str | None:
    """The path of Playwright's own Chromium, if it has been installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def starts(path: str) -> bool:
    """Whether a program is a browser that runs here: some systems have a `chromium` that only advises a snap."""
    try:
        result = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def install_chromium() -> None:
    """Install a Chromium: apt's as root, else (or if apt has none) Playwright's. What they say goes to stderr."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (
            ["update"],
            ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
        ):
            subprocess.run(
                ["apt-get", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                check=False,
            )
    if find_chromium() is None:
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)


def main() -> None:
    if find_chromium() is None:
        print("No Chromium here: installing one …", file=sys.stderr)
        install_chromium()
    path = find_chromium()
    if path is None:
        sys.exit(HOW_TO_GET_ONE)
    print(path)


if __name__ == "__main__":
    main()
