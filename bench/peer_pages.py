"""A page of another package: `python -m bench.peer_pages NAME ATTENTION.npz PAGE.html` writes it, and prints the seconds that making it took."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def circuitsvis(name: str, attention: np.ndarray, tokens: list[str]) -> str:
    """CircuitsVis' page with its code in it, as it is without a network; `attention` is [layer, head, query_pos, key_pos]."""
    import circuitsvis as cv

    flat = attention.reshape(-1, *attention.shape[2:])
    made: Any = getattr(cv.attention, name)(tokens=tokens, attention=flat)
    return str(made.local_src)


def bertviz(name: str, attention: np.ndarray, tokens: list[str]) -> str:
    """BertViz' page."""
    import bertviz as package
    import torch

    layers = [torch.from_numpy(layer)[None] for layer in attention]
    return str(getattr(package, name)(layers, tokens, html_action="return").data)


def main() -> None:
    """Make one page."""
    name, given, page = sys.argv[1:]
    package, function = name.split(".")
    loaded = np.load(given)
    # Loading the package, and torch with it, is not what is compared.
    make = {"circuitsvis": circuitsvis, "bertviz": bertviz}[package]
    make(function, np.ones((1, 1, 2, 2), np.float32), ["a", "b"])
    start = time.perf_counter()
    html = make(function, loaded["attention"], loaded["tokens"].tolist())
    took = time.perf_counter() - start
    Path(page).write_text(f'<!doctype html><meta charset="utf-8"><body>{html}</body>', encoding="utf-8")
    print(took)


if __name__ == "__main__":
    main()
