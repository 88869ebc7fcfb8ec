"""HeadView: one attention head explained: its pattern, what it copies, what it looks for, and which heads it reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import traitlets

from mechwidgets.analysis.attention_values import attention_layers
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import nearest
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.errors import refusing
from mechwidgets.widgets.head_answers import STREAMS, HeadAnswers
from mechwidgets.widgets.interventions import InterventionList
from mechwidgets.widgets.optional import PrependBos
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.view import Answer, ModelView

QUESTIONS = ("pattern", "writes", "composition", "copying", "looks")
# What the first pattern may take of a saved notebook; that of a longer prompt (from about 270 tokens) is asked for.
PATTERN_BYTES = 150_000


class HeadView(ModelView, kind="head"):
    """One attention head explained: its pattern on a prompt and its scores, what it copies (OV), what it looks for (QK), and which earlier heads it reads.

    What the numbers are, and what is left out of them, is said in the picture, and by the functions that give them: `mw.ov_tokens`, `mw.copying_score`,
    `mw.qk_tokens`, `mw.head_composition`, `mw.head_scores`. Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".

    Args:
        model: a HookedModel.
        prompt: the text.
        layer, head: the head to begin with; by default the first.
        position: the query, from 0: what is written is written behind it, and what is looked for is looked for by its token; None for the last.
        token: the text of one token of the vocabulary, to see what the head copies of it and looks for behind it; None for none.
        stream: what a token's residual stream is taken to hold at the head's layer: "prompt" (what it does hold in this run; that of a token of the vocabulary
            its embedding), "embedding" (nothing else), or "effective" (that and what MLP 0 writes of it; on the first use the whole vocabulary goes through MLP 0).
        distance: how many positions before the query the keys of the vocabulary stand, where positions rotate them; at 0 their content counts alone.
        composition: which map shows: "Q", "K" or "V".
        interventions: changes under which the model runs, such as `[mw.ablate(head=(4, 7))]`, or an Interventions shared with other pictures.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        settings: `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt, prepend_bos: assign to ask about something else.
        layer, head, position, token, stream, distance, composition, interventions: assign to look at something else; `observe` to follow clicks.
        tokens: the texts of the prompt's tokens, [pos].
        answers: by question ("pattern", "writes", "composition", "copying", "looks") the first `args` and `value`, which the page need not ask for.
        n_layers, n_heads, n_ctx, model_name: of the model; n_ctx in tokens.

    Raises:
        ValueError: a prompt that cannot be run, or a layer, head, position or distance that there is not.
        TypeError: an argument that the picture does not take.
    """

    inputs = ("prompt", "prepend_bos")
    settings = ("layer", "head", "position", "token", "stream", "distance", "composition", "interventions")

    prompt = traitlets.Unicode("").tag(sync=True)
    prepend_bos = PrependBos()
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    n_layers = traitlets.Int(0).tag(sync=True)
    n_heads = traitlets.Int(0).tag(sync=True)
    n_ctx = traitlets.Int(0).tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)
    token = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    stream = traitlets.Enum(STREAMS, "prompt").tag(sync=True)
    distance = traitlets.Int(0).tag(sync=True)
    composition = traitlets.Enum(("Q", "K", "V"), "K").tag(sync=True)
    interventions = InterventionList()

    def __init__(self, model: HookedModel, prompt: str, *, prepend_bos: bool | None = None, **settings: Any) -> None:
        if isinstance(model, HookedModel):
            settings.setdefault("layer", next(iter(attention_layers(model)), 0))
        # The first questions are about what the picture begins with, of which it has no traits yet.
        self._beginning: Mapping[str, Any] = settings
        super().__init__(model, {"prompt": prompt, "prepend_bos": prepend_bos}, **settings)
        self._beginning = {}

    def _ask(self, prompt: str, prepend_bos: bool | None) -> Answer:
        tokens = self.model.to_tokens(prompt, prepend_bos)
        cfg, n_pos = self.model.cfg, tokens.shape[1]
        kept = HeadAnswers(self.model, tokens)
        # A place in the last prompt has no meaning behind the end of a shorter one.
        gone = {"position": None} if not self._beginning and (self.position or 0) >= n_pos else {}
        chosen = {name: self._beginning.get(name, getattr(self, name)) for name in self.settings} | gone
        self._check_chosen(chosen, n_pos)
        traits = {
            "tokens": self.model.token_texts(tokens[0].tolist()),
            "n_layers": cfg.n_layers,
            "n_heads": cfg.n_heads,
            "n_ctx": cfg.n_ctx,
            "answers": {name: _first(kept, name, args) for name, args in _questions(chosen).items()},
        }
        return Answer(traits | gone, kept)

    def _question(self, name: str, **elsewhere: Any) -> dict[str, Any]:
        """The arguments of a question about what is chosen, or about some other place."""
        chosen = {name: getattr(self, name) for name in self.settings}
        return _questions(chosen | elsewhere)[name]

    def _check_chosen(self, chosen: Mapping[str, Any], n_pos: int) -> None:
        for name, size in self._sizes(n_pos).items():
            if chosen[name] is not None:
                check_range(name, chosen[name], size)
        if chosen["stream"] not in STREAMS:
            hint = nearest(str(chosen["stream"]), STREAMS)
            raise ValueError(f"There is no stream {chosen['stream']!r}.{hint} It is one of {', '.join(STREAMS)}.")

    def _sizes(self, n_pos: int) -> dict[str, int]:
        cfg = self.model.cfg
        return {"layer": cfg.n_layers, "head": cfg.n_heads, "position": n_pos, "distance": cfg.n_ctx}

    def _handlers(self) -> Mapping[str, Handler]:
        return {"set_inputs": self._set, **{name: partial(self._answer_of, name) for name in QUESTIONS}}

    def _set(self, request: Request, prompt: str) -> dict[str, Any]:
        self._set_inputs(request, prompt=prompt)
        return {}

    def _answer_of(self, name: str, request: Request, **args: Any) -> dict[str, Any]:
        kept: HeadAnswers = self._data
        return kept.answer(name, args, request.check)

    @traitlets.validate("layer", "head", "position", "distance")
    def _place_in_range(self, proposal: Any) -> int | None:
        name, value = proposal["trait"].name, proposal["value"]
        with refusing():
            if value is not None:
                check_range(name, value, self._sizes(len(self.tokens))[name])
        return None if value is None else int(value)

    @traitlets.validate("interventions")
    def _interventions_fit(self, proposal: Any) -> list[Intervention]:
        with refusing():
            for intervention in proposal["value"]:
                intervention.check(self.model)
        return list(proposal["value"])


def _questions(chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the picture asks at a place; js/views/head/questions.ts is the same."""
    at = {name: chosen[name] for name in ("layer", "head")}
    run = {**at, "interventions": [one.to_json() for one in chosen["interventions"]]}
    reads = {**run, **{name: chosen[name] for name in ("position", "token", "stream")}}
    alone = "embedding" if chosen["stream"] == "prompt" else chosen["stream"]
    return {
        "pattern": run,
        "writes": reads,
        "composition": at,
        "copying": {**at, "stream": alone},
        "looks": {**reads, "distance": chosen["distance"]},
    }


def _first(kept: HeadAnswers, name: str, args: dict[str, Any]) -> dict[str, Any]:
    """A question and its answer, as a trait; without the answer where that would make a saved notebook large."""
    value = kept.answer(name, args, lambda: None)
    pattern = value.get("pattern")
    if pattern is not None and pattern.nbytes > PATTERN_BYTES:
        return {}
    return {"args": args, "value": _on_the_wire(value)}


def _on_the_wire(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return to_wire(value)
    return {key: _on_the_wire(part) for key, part in value.items()} if isinstance(value, dict) else value
