"""The house stands as ARCHITECTURE.md says: layers import downward only, and the public names are what they seem."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mechwidgets as mw

PACKAGE = Path(mw.__file__).parent
LAYERS = ("model", "analysis", "share", "widgets", "compat")
# share knows of files, and nothing of models
MAY_IMPORT = {
    "model": {"model"},
    "analysis": {"model", "analysis"},
    "share": {"analysis", "share"},
    "widgets": set(LAYERS) - {"compat"},
    "compat": set(LAYERS),
}


def imports(path):
    """The modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.startswith("mechwidgets."))


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_layer_imports_only_downward(path):
    layer = path.relative_to(PACKAGE).parts[0]
    assert layer in LAYERS
    wrong = [name for name in imports(path) if name.split(".")[1] not in MAY_IMPORT[layer]]
    assert wrong == []


def test_every_public_name_is_there_and_listed():
    assert sorted(mw.__all__) == sorted(["__version__", *mw._PUBLIC])
    for name in mw.__all__:
        assert getattr(mw, name) is not None
        assert name in dir(mw)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mechwidgets' has no attribute 'HookedTransformer'"):
        _ = mw.HookedTransformer


@pytest.mark.parametrize(
    "name", ["HookedModel", "AttentionView", "LogitLensView", "PatchingView", "patching", "logit_lens", "LogitDiff"]
)
def test_public_names_are_documented(name):
    assert len(getattr(mw, name).__doc__) > 60
