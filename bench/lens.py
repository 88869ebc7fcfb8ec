"""How far the logit lens is above the arithmetic that it needs: `python -m bench.lens [rounds]`.

SmolLM2 in float32, one thread, 256 tokens, the top 5 tokens of every layer and position. Each round measures, one after the other, this machine's rate of matrix
products, ours, and TransformerLens' `logit_lens` where this interpreter has it: run it with one that has TransformerLens 4. The floor is one pass through the
layers and one unembedding of every state, `2 n (L W + (L + 1) d V)` operations with W weights a layer, at the measured rate.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

import mechwidgets as mw
from bench.forward import bridge, peak, reset_peak
from bench.sweep import rate, timed

TOKENS = 256


def contenders(model: mw.HookedModel, tokens: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], Any]] = {"mechwidgets": lambda: mw.logit_lens(model, tokens, k=5)}
    if find_spec("transformer_lens"):
        from transformer_lens.tools.analysis import logit_lens

        other = bridge()
        other.enable_compatibility_mode()
        found["TransformerLens"] = lambda: logit_lens(other, tokens, positions=None, top_k=5)
    return found


def main() -> None:
    """Measure and print a table of Markdown for bench/RESULTS.md."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    model = mw.HookedModel.from_pretrained("smollm2-135m")
    cfg: Any = model.cfg
    tokens = torch.randint(1000, 40000, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    weights = 2 * cfg.d_model**2 + 2 * cfg.d_model * cfg.n_key_value_heads * cfg.d_head + 3 * cfg.d_model * cfg.d_mlp
    flops = 2 * TOKENS * (cfg.n_layers * weights + (cfg.n_layers + 1) * cfg.d_model * cfg.d_vocab)
    measured = contenders(model, tokens)
    cpu: dict[str, list[float]] = {name: [] for name in measured}
    above: dict[str, list[float]] = {name: [] for name in measured}
    risen: dict[str, int] = {}
    with torch.no_grad():
        for _ in range(rounds):
            before = rate()
            for name, run in measured.items():
                start = reset_peak()
                _, used, _ = timed(run)
                risen[name] = max(risen.get(name, 0), peak() - start)
                speed = before = max(before, rate())
                cpu[name].append(used)
                above[name].append(used / (flops / speed))
    print(f"{flops / 1e9:.0f} GFLOP; {rate() / 1e9:.0f} GFLOP/s on one thread\n")
    print("| | CPU, median [range] | over the floor | memory above what was in use |\n|---|---|---|---|")
    for name in measured:
        times = cpu[name]
        print(
            f"| {name} | {statistics.median(times):.2f} s [{min(times):.2f}-{max(times):.2f}] "
            f"| {statistics.median(above[name]):.2f} | {risen[name] / 1e6:.0f} MB |"
        )


if __name__ == "__main__":
    main()
