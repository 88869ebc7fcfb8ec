"""What a reader of a picture may ask without a kernel: by kind, the questions that can be answered beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mechwidgets.analysis.attention_values import attention_layers
from mechwidgets.model.intervention import Intervention
from mechwidgets.share.arrays import from_wire

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View

# Answers as they come: indices into what was asked, and what is said of these.
Answered = Iterator[tuple[Sequence[int], Sequence[Any]]]

# Tokens of a cell that a reader may follow through the layers without a kernel.
FOLLOWED = 5


class Unheard:
    """A request that nobody has sent: what a handler tells of its progress is for nobody."""

    def check(self) -> None:
        """Nobody cancels it."""

    def progress_due(self) -> bool:
        """Nobody waits."""
        return False


@dataclass(frozen=True)
class Ask:
    """One question.

    Attributes:
        name, args: the request; None for what the picture shows with other inputs.
        inputs: those that differ from the picture's.
    """

    name: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bake:
    """Questions that are answered beforehand together, or not at all.

    Attributes:
        name: as `bake=[...]` has it.
        what: what a reader can do with the answers.
        rank: those with the lowest come first where there is not room for all.
        asks: the questions; or what says them, where that takes the model.
        before: what has to be done before the picture's traits are read, given whom to tell of it; or None.
        auto: whether it is baked without being asked for by name, if there is room.
        together: answers all of `asks` with less work than one by one; None where there is no such way.
    """

    name: str
    what: str
    rank: int
    asks: Sequence[Ask] | Callable[[], Sequence[Ask]] = ()
    before: Callable[[Unheard], Any] | None = None
    auto: bool = True
    together: Callable[[], Answered] | None = None


# Requests whose answer about a list is that about each member, put together; and the argument that is the list.
LISTS: Mapping[str, Mapping[str, str]] = {"attention": {"patterns": "heads"}}


def bakes(view: View) -> list[Bake]:
    """All that can be answered beforehand of a picture."""
    found = _BAKES.get(view.kind)
    return list(found(view)) if found else []


def inputs_of(view: View) -> tuple[str, ...]:
    """The traits on which a picture's numbers depend."""
    found: Callable[[Any], tuple[str, ...]] = _INPUTS.get(view.kind, lambda one: one.inputs)
    return tuple(name for name in found(view) if name in view.keys)


def state_of(view: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traits of a picture with some inputs changed; the picture itself stays as it is.

    Raises:
        ValueError: the model cannot be run on them.
    """
    if view.kind not in _STATES:
        whole = {**{name: getattr(view, name) for name in view.inputs}, **inputs}
        traits: Mapping[str, Any] = view._ask_unmodified(**whole).traits
        return traits
    shown = getattr(view, "_shown", None)
    try:
        return _STATES[view.kind](view, inputs)
    finally:
        view._shown = shown


def _heads(view: Any) -> Iterator[tuple[int, int]]:
    return itertools.product(attention_layers(view.model), range(view.model.cfg.n_heads))


def _off(view: Any) -> list[list[Intervention]]:
    """What is switched off now, and each head besides; without anything, if something is."""
    now = list(view.interventions)
    each = [[*now, Intervention("z", layer, head=head)] for layer, head in _heads(view)]
    return [*([[]] if now else []), *each]


def _attention(view: Any) -> Iterator[Bake]:
    if view.prediction:
        now = [one.to_json() for one in view.interventions]
        first = [Ask("predict", {"interventions": one}) for one in ([[], now] if now else [[]])]
        yield Bake("prediction", "the next-token distribution", 0, first)
    heads = [Ask("patterns", {"heads": [[layer, head]]}) for layer, head in _heads(view)]
    yield Bake("patterns", "the exact pattern of each head", 1, heads)
    if view.prediction:
        lists = _off(view)
        off = [Ask("predict", {"interventions": [one.to_json() for one in changes]}) for changes in lists]
        what = "the next-token distribution with each head switched off"
        yield Bake("ablations", what, 1, off, together=lambda: view._predict_each(lists))


def _ablations(view: Any, what: str, rank: int, together: Callable[..., Answered] | None = None) -> Bake:
    lists = _off(view)
    asks = [Ask(inputs={"interventions": changes}) for changes in lists]
    return Bake("ablations", what, rank, asks, together=together and (lambda: together(lists)))


def _positions(view: Any) -> Bake:
    places = [None, *range(len(view.tokens))]
    asks = [Ask(inputs={"position": place}) for place in places if place != view.position]
    return Bake("positions", "what is read behind each token of the prompt", 2, asks)


def _logit_lens(view: Any) -> Iterator[Bake]:
    top, ids = from_wire(view.top_tokens)[0, -1], from_wire(view.vocabulary_ids)

    def column(place: int, rank: int) -> Ask:
        token = int(ids[top[place, rank]])
        return Ask("column", {"position": place, "follow": [token], "typed": None})

    places = range(len(view.tokens))
    first = [column(place, 0) for place in places]
    yield Bake("columns", "the model's final token of each position, followed through the layers", 1, first)
    others = [column(place, rank) for place in places for rank in range(1, min(FOLLOWED, top.shape[-1]))]
    yield Bake("candidates", f"the {FOLLOWED} likeliest final tokens of each position, followed", 2, others)
    streams = [Ask(inputs={"stream": one}) for one in view.streams if one != view.stream]
    yield Bake("streams", "the lens on the other streams", 3, streams)
    yield _ablations(view, "the lens with each head switched off", 4)


def _prediction(view: Any) -> Iterator[Bake]:
    def steps() -> list[Ask]:
        written = view._handlers()["write"](Unheard())
        each = [side["token_ids"][:count] for side in written.values() for count in range(len(side["token_ids"]))]
        return [Ask("write"), *(Ask("behind", {"token_ids": list(ids)}) for ids in sorted(set(map(tuple, each))))]

    yield Bake("written", "what the model writes on, and the distribution at each step", 1, steps)
    yield _ablations(view, "the distribution with each head switched off", 1, view._under_each)
    yield _positions(view)


def _attribution(view: Any) -> Iterator[Bake]:
    found = view.attribution

    def component(part: str, layer: int | None, head: int | None = None, neuron: int | None = None) -> Ask:
        return Ask("component", {"part": part, "layer": layer, "head": head, "neuron": neuron})

    layers, heads = np.isfinite(found.layers), np.isfinite(found.heads)
    parts = [component(name, None) for name in ("embed", "pos_embed") if name in found.others]
    for layer in range(len(layers)):
        parts += [component(name, layer) for at, name in enumerate(("attn", "mlp")) if layers[layer, at]]
        parts += [component("head", layer, head) for head in range(heads.shape[1]) if heads[layer, head]]
    yield Bake("components", "the tokens that each component writes towards", 1, parts)
    yield _ablations(view, "the attribution with each head switched off", 2)
    yield _positions(view)


def _head(view: Any) -> Iterator[Bake]:
    def each(name: str) -> list[Ask]:
        return [Ask(name, view._question(name, layer=layer, head=head)) for layer, head in _heads(view)]

    yield Bake("patterns", "the pattern and the scores of each head", 1, each("pattern"))
    yield Bake("composition", "the earlier heads that each head reads", 1, each("composition"))
    yield Bake("writes", "what each head writes", 2, each("writes"))
    # Of each head a product with the whole vocabulary.
    yield Bake("looks", "what each head looks for", 3, each("looks"), auto=False)
    yield Bake("copying", "the copying score of each head", 3, each("copying"), auto=False)


def _patching(view: Any) -> Iterator[Bake]:
    if view.finished:
        return

    def fill(sites: Sequence[str], told: Unheard) -> None:
        for site in sites:
            if view.results[site] is None:
                view._fill(site, told)

    others = [site for site in view.sites if site != view.site]
    yield Bake("sweep", f"the sweep of {view.site}", 0, before=lambda told: fill([view.site], told))
    yield Bake("sites", "the sweeps of the other sites", 3, before=lambda told: fill(others, told), auto=False)


def _patterns(view: Any) -> Iterator[Bake]:
    def exact(sample: int) -> list[Ask]:
        inputs = {} if sample == view.sample else {"sample": sample}
        return [Ask("pattern", {"sample": sample, "head": head}, inputs) for head in range(len(view.head_names))]

    yield Bake("patterns", "the exact pattern of each head", 1, exact(view.sample))
    others = [one for one in range(len(view.sample_names)) if one != view.sample]
    shown = [Ask(inputs={"sample": one}) for one in others]
    yield Bake("samples", "the other samples", 2, [*shown, *(ask for one in others for ask in exact(one))])


def _tokens(view: Any) -> Iterator[Bake]:
    sizes = [1] if view._columns else [one["size"] for one in view.dimensions]
    asks = []
    for at in itertools.product(*map(range, sizes)):
        index = list(view.index) if view._columns else list(at)
        pages = range(len(view._pages.pages(tuple(index))))
        asks += [Ask(inputs=_only(inputs_of(view), index=index, page=page)) for page in pages]
    yield Bake("pages", "the other pages and columns", 2, asks)


def _top_tokens(view: Any) -> Iterator[Bake]:
    neurons = range(0, view.neurons["size"], view.columns)
    places = itertools.product(range(len(view.sample_names)), range(view.layers["size"]), neurons)
    asks = [Ask(inputs=dict(zip(("sample", "layer", "neuron"), one, strict=True))) for one in places]
    yield Bake("columns", "the other neurons, layers and samples", 2, asks)


def _exercise(view: Any) -> Iterator[Bake]:
    about = view.view
    heads = about.n_heads if about.has_trait("n_heads") else len(getattr(about, "head_names", ()))
    sizes = {"layer": getattr(about, "n_layers", 0), "head": heads, "position": len(view.tokens)}
    places = itertools.product(*(range(sizes[name]) for name in view.asks))
    asks = [Ask("check", dict(zip(view.asks, place, strict=True))) for place in places]
    yield Bake("verdicts", "whether each answer is right", 0, asks)


def _only(names: Iterable[str], **values: Any) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _tokens_state(view: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    content = view._content(inputs.get("index", view.index), inputs["page"])
    return {"content": content}


def _top_tokens_state(view: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"content": view._content(**inputs, columns=view.columns, k=view.k)}


_BAKES: Mapping[str, Callable[[Any], Iterator[Bake]]] = {
    "attention": _attention,
    "logit_lens": _logit_lens,
    "prediction": _prediction,
    "attribution": _attribution,
    "head": _head,
    "patching": _patching,
    "patterns": _patterns,
    "tokens": _tokens,
    "top_tokens": _top_tokens,
    "exercise": _exercise,
}
_INPUTS: Mapping[str, Callable[[Any], tuple[str, ...]]] = {
    "patterns": lambda _: ("sample",),
    "tokens": lambda view: ("page",) if view._columns else ("index", "page"),
    "top_tokens": lambda _: ("sample", "layer", "neuron"),
}
_STATES: Mapping[str, Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]] = {
    "patterns": lambda view, inputs: view._content(inputs["sample"]),
    "tokens": _tokens_state,
    "top_tokens": _top_tokens_state,
}
