"""What one head does in one run: the streams that it reads, its pattern, its z, and the scales of the norms between it and the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mechwidgets.analysis.head_circuits import Scales
from mechwidgets.analysis.head_streams import check_head
from mechwidgets.model.checks import check_finite
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import site_name
from mechwidgets.model.intervention import Intervention


@dataclass(frozen=True, eq=False)
class HeadRun:
    """One head in one run of one prompt.

    Attributes:
        pattern: float32 [query_pos, key_pos].
        streams: the residual streams at its layer's input, [pos, d_model].
        z: [pos, d_head]; None where the family does not show it.
        post_scale, final_scale: of the norm behind attention and of the final norm, [pos]; None where there is none.
    """

    pattern: torch.Tensor
    streams: torch.Tensor
    z: torch.Tensor | None
    post_scale: torch.Tensor | None
    final_scale: torch.Tensor | None

    def scales(self, position: int) -> Scales:
        """Of the norms between the head and the logits behind a position."""
        return Scales(*(1.0 if one is None else float(one[position]) for one in (self.post_scale, self.final_scale)))


def run_head(
    model: HookedModel, tokens: torch.Tensor, layer: int, head: int, interventions: Sequence[Intervention] = ()
) -> HeadRun:
    """Run a prompt [1, pos] under interventions, and keep what one head does.

    Raises:
        ValueError: a head that the model does not have, a layer without attention, or interventions that it cannot carry out.
    """
    check_head(model, layer, head)
    wanted = {site: site_name(site, layer) for site in ("pattern", "resid_pre", "z", "ln1_post.scale")}
    wanted["ln_final.scale"] = site_name("ln_final.scale", None)
    names = {site: name for site, name in wanted.items() if name in model.hook_dict}
    with torch.no_grad(), model.intervene(*interventions):
        _, cache = model.run_with_cache(tokens, names_filter=list(names.values()), logits_to_keep=1)
    found = {site: cache[name][0] for site, name in names.items()}
    pattern = found["pattern"][head].float()
    check_finite(model, pattern, f"the pattern of L{layer}H{head}")
    return HeadRun(
        pattern.cpu().clone(),
        found["resid_pre"],
        found["z"][:, head].clone() if "z" in found else None,
        *(found[name][:, 0].float() if name in found else None for name in ("ln1_post.scale", "ln_final.scale")),
    )
