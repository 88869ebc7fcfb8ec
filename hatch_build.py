"""Build the front end as part of the wheel and the sdist, and never ship a stale bundle.

`mechwidgets/static/build.json` says which sources the bundles were made from and what they contained.
Bundles that still agree with it are used as they are, so that an install from the sdist needs no Node.js;
anything else is built anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_MAJOR = 20
OUTPUTS = ("mechwidgets/static", "mechwidgets/labextension")
REQUIRED = ("mechwidgets/static/*.js", "mechwidgets/labextension/package.json")
RECORD = "mechwidgets/static/build.json"
SOURCES = (
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "notebooks/quickstart.ipynb",
    "notebooks/workbench.ipynb",
    "mechwidgets/share/document.schema.json",
)


class FrontEndError(RuntimeError):
    """The front end could not be built; the message says what to do."""


class FrontEndHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook: runs before every wheel, editable wheel and sdist."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make sure that the bundles are those of the sources beside them."""
        ensure_front_end(Path(self.root), self.metadata.version)


def ensure_front_end(root: Path, version: str) -> None:
    """Build the front end unless the bundles are already those of these sources."""
    sources = hash_sources(root, version)
    if is_current(root, sources):
        return
    npm = find_npm()
    install_node_modules(root, npm)
    for folder in OUTPUTS:
        shutil.rmtree(root / folder, ignore_errors=True)
    run([npm, "run", "build"], root)
    missing = [pattern for pattern in REQUIRED if not any(root.glob(pattern))]
    if missing:
        raise FrontEndError(f"`npm run build` ended without an error but made no {' and no '.join(missing)}.")
    record = {"sources": sources, "outputs": hash_outputs(root)}
    (root / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def is_current(root: Path, sources: str) -> bool:
    """Whether the bundles were made from these sources and have not been touched since."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return record == {"sources": sources, "outputs": hash_outputs(root)}


def hash_sources(root: Path, version: str) -> str:
    """One hash over all that the bundles are made from."""
    files = [path for path in (root / "js").rglob("*") if path.is_file() and is_source(path.relative_to(root))]
    files += [root / name for name in SOURCES if (root / name).is_file()]
    digest = hashlib.sha256(version.encode())
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0{hash_file(path)}".encode())
    return digest.hexdigest()


def is_source(path: Path) -> bool:
    """Whether a file under js/ goes into the bundles: tests and what the build writes do not."""
    is_output = path.parts[:2] == ("js", "lib")
    is_hidden = any(part.startswith((".", "__")) for part in path.parts)
    return not (is_output or is_hidden or re.search(r"\.test\.tsx?$", path.name))


def hash_outputs(root: Path) -> dict[str, str]:
    """The hash of each file that the build wrote, by its path."""
    files = [path for folder in OUTPUTS for path in (root / folder).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): hash_file(path) for path in sorted(files) if path != root / RECORD}


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_npm() -> str:
    """The npm to build with; says what to install where there is none, or no Node.js that is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    advice = (
        f"Install Node.js {NODE_MAJOR} or newer (it brings npm), or install a release, which needs neither: "
        "pip install mechwidgets"
    )
    if not node or not npm:
        raise FrontEndError(
            "The front end of mechwidgets has to be built from js/ (there are no bundles of just these sources), "
            f"and node and npm were not both found on PATH. {advice}"
        )
    found = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(found.lstrip("v").split(".")[0]) < NODE_MAJOR:
        raise FrontEndError(f"The front end of mechwidgets cannot be built with Node.js {found}. {advice}")
    return npm


def install_node_modules(root: Path, npm: str) -> None:
    """Run `npm ci`, unless node_modules is already what the lock file says."""
    if not node_modules_match(root):
        # The bundler is a development dependency, which NODE_ENV=production would leave out.
        run([npm, "ci", "--include=dev", "--no-audit", "--no-fund"], root)


def node_modules_match(root: Path) -> bool:
    """Compare the lock file with the one that npm leaves in node_modules once it has installed everything."""
    try:
        installed = json.loads((root / "node_modules/.package-lock.json").read_text(encoding="utf-8"))["packages"]
    except (OSError, ValueError, KeyError):
        return False
    locked = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return all(
        installed[name].get("version") == entry.get("version") if name in installed else entry.get("optional", False)
        for name, entry in locked.items()
        if name  # the package itself is listed under the empty name
    )


def run(command: list[str], root: Path) -> None:
    """Run one build step; its output is shown only when it fails."""
    result = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        shown = " ".join([Path(command[0]).stem, *command[1:]])
        output = (result.stdout + result.stderr)[-6000:]
        raise FrontEndError(f"`{shown}` failed with exit code {result.returncode} in {root}:\n{output}")
