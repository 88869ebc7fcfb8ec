"""Hook names and hook points.

Names are TransformerLens': `blocks.{layer}.attn.hook_z` in full, or the site `z` and a layer. Shapes:

| site | name | shape |
|---|---|---|
| resid_pre, attn_out, resid_mid, mlp_out, resid_post | blocks.{l}.hook_resid_pre, ... | [batch, pos, d_model] |
| attn_scores, pattern | blocks.{l}.attn.hook_attn_scores, ... | [batch, head, query_pos, key_pos] |
| z | blocks.{l}.attn.hook_z | [batch, pos, head, d_head] |
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch

SITES: dict[str, str] = {
    "resid_pre": "blocks.{layer}.hook_resid_pre",
    "attn_scores": "blocks.{layer}.attn.hook_attn_scores",
    "pattern": "blocks.{layer}.attn.hook_pattern",
    "z": "blocks.{layer}.attn.hook_z",
    "attn_out": "blocks.{layer}.hook_attn_out",
    "resid_mid": "blocks.{layer}.hook_resid_mid",
    "mlp_out": "blocks.{layer}.hook_mlp_out",
    "resid_post": "blocks.{layer}.hook_resid_post",
}

# TransformerLens' short names that differ from the hook's own.
ALIASES = {"attn": "pattern", "attn_logits": "attn_scores"}

_FULL_NAME = re.compile(r"blocks\.(\d+)\.(?:attn\.)?hook_(\w+)")

HookFunction = Callable[[torch.Tensor, "HookPoint"], "torch.Tensor | None"]
NamesFilter = str | Iterable[str] | Callable[[str], bool] | None


class HookPoint:
    """What a hook function is told about the place it is called at.

    Attributes:
        name: full hook name, e.g. `blocks.4.attn.hook_z`.
        ctx: a dictionary that hook functions of one run may share at this place.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ctx: dict[str, Any] = {}

    def layer(self) -> int:
        """The layer of this hook point."""
        return parse_name(self.name)[1]

    def __repr__(self) -> str:
        return f"HookPoint({self.name!r})"


def site_name(site: str, layer: int) -> str:
    """The full hook name of a site in a layer: `("z", 4)` is `blocks.4.attn.hook_z`.

    Raises:
        ValueError: an unknown site; the message names the nearest.
    """
    template = SITES.get(ALIASES.get(site, site))
    if template is None:
        raise ValueError(f"Unknown site {site!r}.{nearest(site, SITES)} Sites: {', '.join(SITES)}.")
    return template.format(layer=layer)


def parse_name(name: str) -> tuple[str, int]:
    """The site and layer of a full hook name.

    Raises:
        ValueError: not a hook name.
    """
    match = _FULL_NAME.fullmatch(name)
    if match and site_name(match[2], int(match[1])) == name:
        return match[2], int(match[1])
    raise ValueError(
        f"Unknown hook name {name!r}. Hook names look like 'blocks.4.attn.hook_z' or 'blocks.4.hook_resid_pre'."
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' for the most similar known word, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def select_names(names_filter: NamesFilter, available: Iterable[str]) -> list[str]:
    """The available hook names that a filter asks for, in the order in which a forward pass meets them.

    Args:
        names_filter: None for all, a full name, a site (all layers), several of them, or a function of the full name.
        available: the hook names that the model offers.

    Raises:
        ValueError: a name or site that the model does not offer.
    """
    names = list(available)
    if names_filter is None:
        return names
    if callable(names_filter):
        return [name for name in names if names_filter(name)]
    wanted = [names_filter] if isinstance(names_filter, str) else list(names_filter)
    chosen: set[str] = set()
    for want in wanted:
        site = ALIASES.get(want, want)
        found = [name for name in names if name == want or parse_name(name)[0] == site]
        if not found:
            raise ValueError(
                f"This model offers no activation {want!r}.{nearest(want, [*SITES, *names])} "
                f"Sites: {', '.join(dict.fromkeys(parse_name(name)[0] for name in names))}."
            )
        chosen.update(found)
    return [name for name in names if name in chosen]
