"""What is installed: the wheel and the sdist carry the bundles of just these sources, and need no Node.js."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mechwidgets

ROOT = Path(__file__).parents[1]
KINDS = {path.stem for path in (ROOT / "js" / "entries").glob("*.ts")}
SCRIPTS = {"core", "loader", "page", *KINDS}
TEMPLATE = ("conf.json", "index.html.j2", "style.css")
EXTENSION = "mechwidgets-{version}.data/data/share/jupyter/labextensions/mechwidgets"
NOT_COPIED = (".git", ".venv", "node_modules", "dist", "test-results", "__pycache__", ".*_cache", ".hypothesis")


def copy_sources(folder: Path) -> Path:
    """A working copy with its bundles and this checkout's node_modules, in which nothing that is changed matters."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    return folder


def build(source: Path, into: Path, what: str = "--wheel", path: str | None = None) -> Path:
    """Build as a user's pip would, but with the hatchling that is installed here."""
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    command = [sys.executable, "-m", "build", "--no-isolation", what, "--outdir", str(into), str(source)]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return next(into.glob("*.whl" if what == "--wheel" else "*.tar.gz"))


def read_wheel(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def find_registry(core: bytes) -> bytes:
    """The name under which the scripts of a build know each other."""
    found = re.search(rb"globalThis\.(mechwidgets_\w+)", core)
    assert found
    return found[1]


@pytest.fixture(scope="session")
def no_node(tmp_path_factory) -> str:
    """A PATH on which there is no Node.js."""
    folder = tmp_path_factory.mktemp("bin")
    for program in ("sh", "env", "uname", "git"):
        (folder / program).symlink_to(shutil.which(program) or "/bin/false")
    assert shutil.which("node", path=str(folder)) is None
    return str(folder)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory) -> Path:
    source = copy_sources(tmp_path_factory.mktemp("copy") / "source")
    return build(source, tmp_path_factory.mktemp("sdist"), "--sdist")


@pytest.fixture(scope="session")
def unpacked(sdist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(sdist, folder)
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def wheel(unpacked, no_node, tmp_path_factory) -> Path:
    """Built from the sdist, where there is no Node.js: as pip does for a user."""
    return build(unpacked, tmp_path_factory.mktemp("wheel"), path=no_node)


@pytest.mark.package
def test_the_wheel_carries_each_bundle_once(wheel):
    files = read_wheel(wheel)
    extension = EXTENSION.format(version=mechwidgets.__version__)
    assert {f"mechwidgets/static/{name}.js" for name in SCRIPTS} <= files.keys()
    assert {f"{extension}/package.json", f"{extension}/install.json", "mechwidgets/py.typed"} <= files.keys()
    assert {f"mechwidgets/compat/nbconvert/templates/mechwidgets/{name}" for name in TEMPLATE} <= files.keys()
    assert [name for name in files if "remoteEntry" in name and name.startswith(f"{extension}/static/")]
    assert not [name for name in files if name.startswith("mechwidgets/labextension")]
    assert not [name for name in files if name.startswith(("js/", "tests/", "node_modules/"))]


@pytest.mark.package
def test_the_wheel_carries_the_quickstart(wheel):
    title = "mechwidgets: a quickstart"
    extension = EXTENSION.format(version=mechwidgets.__version__)
    assert any(title in text.decode() for name, text in read_wheel(wheel).items() if name.startswith(extension))


@pytest.mark.package
def test_the_sdist_carries_the_sources_and_the_bundles(unpacked):
    for name in (
        "package.json",
        "package-lock.json",
        "tsconfig.json",
        ".npmrc",
        "hatch_build.py",
        "LICENSE",
        "js/build.mjs",
    ):
        assert (unpacked / name).is_file(), name
    assert (unpacked / "mechwidgets" / "labextension" / "package.json").is_file()
    assert {path.stem for path in (unpacked / "mechwidgets" / "static").glob("*.js")} == SCRIPTS
    assert not (unpacked / "node_modules").exists()


@pytest.mark.package
def test_a_change_in_js_is_in_the_next_wheel(unpacked, wheel, tmp_path):
    source = shutil.copytree(unpacked, tmp_path / "source")
    (source / "node_modules").symlink_to(ROOT / "node_modules")
    entry = source / "js" / "entries" / "attention.ts"
    entry.write_text(entry.read_text() + '\nglobalThis.dispatchEvent(new Event("a change"));\n')
    changed, before = read_wheel(build(source, tmp_path / "dist")), read_wheel(wheel)
    names = {
        name: find_registry(files["mechwidgets/static/core.js"])
        for name, files in (("changed", changed), ("before", before))
    }
    assert names["changed"] != names["before"]
    for script in SCRIPTS:
        path = f"mechwidgets/static/{script}.js"
        assert (b"a change" in changed[path]) == (script == "attention")
        if script != "attention":
            # The name of the build is in all of them, so that no two builds mix.
            assert changed[path].replace(names["changed"], names["before"]) == before[path]


@pytest.mark.package
@pytest.mark.parametrize("name", ["mechwidgets/static/attention.js", "mechwidgets/labextension/package.json"])
def test_a_bundle_that_was_touched_is_built_anew(unpacked, wheel, tmp_path, name):
    source = shutil.copytree(unpacked, tmp_path / "source")
    (source / "node_modules").symlink_to(ROOT / "node_modules")
    (source / name).write_text("stale")
    build(source, tmp_path / "dist")
    assert (source / name).read_text() != "stale"


@pytest.mark.package
def test_without_node_a_needed_build_says_what_to_install(unpacked, no_node, tmp_path):
    source = shutil.copytree(unpacked, tmp_path / "source")
    (source / "mechwidgets" / "static" / "attention.js").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build(source, tmp_path / "dist", path=no_node)
    assert "Install Node.js 20" in caught.value.stdout + caught.value.stderr


@pytest.mark.package
def test_the_wheel_works_in_a_fresh_environment_without_node(wheel, no_node, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, str(wheel)], check=True, stdin=subprocess.DEVNULL)
    code = "import mechwidgets; print(mechwidgets.__version__, mechwidgets.__file__)"
    result = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env={"PATH": no_node}
    )
    assert result.stdout.split() == [mechwidgets.__version__, f"{target}/mechwidgets/__init__.py"]
    assert (tmp_path / "venv/share/jupyter/labextensions/mechwidgets/package.json").is_file()


def test_importing_it_imports_neither_torch_nor_transformers():
    code = (
        "import sys, mechwidgets; print(sorted({'torch', 'transformers', 'anywidget', 'pandas'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_the_lock_file_says_what_not_where_from():
    lock = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert not re.search(r"https?://[^\"]*\.tgz", lock)


def test_the_lock_file_has_the_binaries_of_every_platform():
    """`npm ci` refuses a lock that lacks some; npm writes such a lock where a registry does not carry them."""
    packages = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    listed = {name.rpartition("node_modules/")[2] for name in packages}
    wanted = {name for package in packages.values() for name in package.get("optionalDependencies", {})}
    assert sorted(wanted - listed) == []


def test_both_halves_have_one_version():
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == mechwidgets.__version__
