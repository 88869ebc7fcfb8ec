"""What a head is taken to read: a token as it stands in the residual stream by itself, without a prompt around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import HookFunction, nearest, site_name
from mechwidgets.model.places import check_range
from mechwidgets.model.prompt_pair import check_answer
from mechwidgets.model.run import Run
from mechwidgets.model.stacks import stack_of

STREAMS = ("embedding", "effective")

# Tokens that go through the first layer, or are read by a head, at a time.
TOKENS_TOGETHER = 4096

# Raises if nobody wants the answer any more.
Check = Callable[[], None]


def unchecked() -> None:
    """A check that lets everything go on."""


def token_ids(model: HookedModel, tokens: str | int | Iterable[str | int]) -> list[int]:
    """The ids of tokens given as texts, each of one token, or as ids.

    Raises:
        ValueError: a text of several tokens, or an id outside the vocabulary.
    """
    several = [tokens] if isinstance(tokens, (str, int)) else list(tokens)
    return [check_answer(model, one, "Token") for one in several]


def check_head(model: HookedModel, layer: int, head: int, site: str = "pattern") -> None:
    """Raises ValueError for a head that the model does not have, or whose layer has no such site."""
    check_range("layer", layer, model.cfg.n_layers)
    check_range("head", head, model.cfg.n_heads)
    if site_name(site, layer) not in model.hook_dict:
        raise ValueError(f"Layer {layer} of this model has no {site}, so no attention heads to look into.")


def check_stream(stream: str) -> None:
    """Raises ValueError for something else than one of `STREAMS`."""
    if stream not in STREAMS:
        raise ValueError(f"There is no stream {stream!r}.{nearest(stream, STREAMS)} It is one of {', '.join(STREAMS)}.")


@torch.no_grad()
def token_streams(
    model: HookedModel, tokens: torch.Tensor, layer: int, stream: str = "embedding", check: Check = unchecked
) -> torch.Tensor:
    """The residual streams [n, d_model] that tokens [n] are taken to have at a layer's input.

    - "embedding": what the embedding writes, with the factor and the norm that some families have behind it, and without learned positions.
    - "effective": that, and what the MLP of layer 0 writes of it, where attention of layer 0 writes nothing; what heads of early layers are often said to read,
      since the MLP of layer 0 does much of what an embedding does. The same as "embedding" for a head of layer 0.

    Raises:
        ValueError: another stream.
    """
    check_stream(stream)
    if stream == "effective" and layer > 0:
        return _behind_first_mlp(model, _normed(model, model.embed(tokens)), check)
    return _normed(model, model.embed(tokens))


@torch.no_grad()
def vocabulary_streams(model: HookedModel, layer: int, stream: str, check: Check = unchecked) -> torch.Tensor:
    """As `token_streams`, of the whole vocabulary [d_vocab, d_model]; "effective" is kept for the next time, as weights' stacks are."""
    check_stream(stream)
    if stream != "effective" or layer == 0:
        return _normed(model, model.W_E)
    first = model.architecture.layers[0].layer
    modules = [model.hf_model.get_input_embeddings(), *first.modules()]
    return stack_of(
        model, "effective embedding", modules, lambda: [_behind_first_mlp(model, _normed(model, model.W_E), check)]
    )[0]


def layer_sites(
    model: HookedModel, layer: int, streams: torch.Tensor, sites: Iterable[str], positions: Iterable[int] | None = None
) -> dict[str, torch.Tensor]:
    """What a layer's own code makes of residual streams [batch, pos, d_model], by site; where the family has that site.

    Args:
        model, layer, streams: hooks that were added to the model are not called.
        sites: such as "q" and "pattern".
        positions: at which the streams are taken to stand, where that is not 0, 1, ...; for rotary families alone.
    """
    return _sites(model, layer, streams, sites, [], positions)


def _sites(
    model: HookedModel,
    layer: int,
    streams: torch.Tensor,
    sites: Iterable[str],
    hooks: list[tuple[str, HookFunction]],
    positions: Iterable[int] | None = None,
) -> dict[str, torch.Tensor]:
    names = {site: site_name(site, layer) for site in sites}
    keep = [name for name in names.values() if name in model.hook_dict]
    tokens = torch.zeros(streams.shape[:2], dtype=torch.long)
    instead = (site_name("resid_pre", layer), lambda _, __: streams)
    run = Run(model, [instead, *hooks], keep=keep, stop_at_layer=layer + 1)
    where = {} if positions is None else {"position_ids": torch.tensor([list(positions)]).expand_as(tokens)}
    with torch.no_grad():
        model.forward(tokens, run, attention_mask=torch.ones_like(tokens), **where)
    return {site: run.kept[name] for site, name in names.items() if name in run.kept}


def _normed(model: HookedModel, written: torch.Tensor) -> torch.Tensor:
    """What embeddings write, behind the norm that some families have there."""
    norm = model.architecture.embed
    return written if norm is model.hf_model.get_input_embeddings() else norm(written)


def _behind_first_mlp(model: HookedModel, streams: torch.Tensor, check: Check) -> torch.Tensor:
    silent = (site_name("attn_out", 0), lambda written, _: torch.zeros_like(written))
    found = torch.empty_like(streams)
    for first in range(0, len(streams), TOKENS_TOGETHER):
        check()
        several = slice(first, first + TOKENS_TOGETHER)
        found[several] = _sites(model, 0, streams[several, None], ["resid_post"], [silent])["resid_post"][:, 0]
    return found
