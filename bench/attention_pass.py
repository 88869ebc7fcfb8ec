"""What the pass that draws all heads takes: `python -m bench.attention_pass [rounds] [tokens ...]`.

CPU seconds of one thread with SmolLM2: the pass of an AttentionView of a long prompt, which computes attention a block of queries at a time; the same from whole
patterns, as before; and plain transformers passes with eager and with SDPA attention, which read nothing. One after the other in each round; minima, with the ratio
to the eager pass.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable

import torch

import mechwidgets as mw
from bench.forward import hf_model
from bench.sweep import timed
from mechwidgets.widgets.aligned_prompts import Prompts
from mechwidgets.widgets.attention_pass import AttentionPass


def main() -> None:
    """Measure and print a table of Markdown for bench/RESULTS.md."""
    given = list(map(int, sys.argv[1:]))
    rounds, lengths = given[0] if given else 3, given[1:] or [128, 512, 2048]
    torch.set_num_threads(1)
    model, plain = mw.HookedModel.from_pretrained("smollm2-135m"), hf_model()

    def transformers(tokens: torch.Tensor, attention: str) -> None:
        plain.set_attn_implementation(attention)
        with torch.no_grad():
            plain(tokens, use_cache=False, logits_to_keep=1)

    def ours(tokens: torch.Tensor, whole: bool) -> None:
        made = AttentionPass(model, Prompts(tokens, 1), "standard", 0)
        if whole:
            made._queries = None
        made.run()

    contenders: dict[str, Callable[[torch.Tensor], None]] = {
        "transformers, eager": lambda tokens: transformers(tokens, "eager"),
        "transformers, SDPA": lambda tokens: transformers(tokens, "sdpa"),
        "all heads read, whole patterns": lambda tokens: ours(tokens, True),
        "all heads read, in blocks": lambda tokens: ours(tokens, False),
    }
    print("| CPU seconds | " + " | ".join(contenders) + " |\n|" + "---|" * (1 + len(contenders)))
    for n in lengths:
        # words come again, as in a text
        tokens = torch.randint(1000, 1500, (1, n), generator=torch.Generator().manual_seed(0))
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for name, run in contenders.items():
                found[name].append(timed(lambda run=run, tokens=tokens: run(tokens))[1])
        eager = min(found["transformers, eager"])
        print(
            f"| {n:,} tokens | "
            + " | ".join(f"{min(one):.2f} ({min(one) / eager:.2f})" for one in found.values())
            + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
