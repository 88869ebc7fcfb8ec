"""AttentionView: every attention head as a thumbnail, some of them large, and switches that run the model again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from mechwidgets.analysis.attention_values import ATTENTION_TYPES, attention_layers
from mechwidgets.analysis.prediction import prediction_change, prediction_changes
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import nearest
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.model.run import suspended
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.aligned_prompts import alternatives, read_prompts
from mechwidgets.widgets.attention_pass import AttentionPass
from mechwidgets.widgets.attention_progress import AttentionProgress
from mechwidgets.widgets.errors import RefusedError, refusing
from mechwidgets.widgets.head_cache import Head
from mechwidgets.widgets.interventions import InterventionList
from mechwidgets.widgets.optional import PrependBos
from mechwidgets.widgets.own_scores import read_scores
from mechwidgets.widgets.prediction import distribution_of
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.view import Answer, ModelView

# Whole heads kept for later clicks; those of longer prompts (from about 170 tokens in SmolLM2) are computed again when they are asked for. Not more, because
# ipywidgets keeps every picture that was not closed, such as those of a cell that was run ten times.
KEPT_HEAD_BYTES = 16_000_000


class Texts(traitlets.TraitType):  # type: ignore[type-arg]
    """A trait: a text, or a list of several."""

    def __init__(self) -> None:
        super().__init__(default_value="")
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> Any:
        """Raises TypeError for anything else."""
        several = isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
        if several or isinstance(value, str):
            return list(value) if several else value
        raise TypeError(f"{self.name} is a text, or several of equally many tokens; got {value!r}.")


class AttentionView(ModelView, kind="attention"):
    """Attention heads of a prompt, of many prompts of one template, or the difference between two.

    Click a thumbnail to see that head large, with Shift to keep it beside others; switch heads off to see how the next-token distribution moves. The model
    itself is never changed.

    Of a long prompt, whose pass takes about a second or more, the picture appears at once: its heads are computed when it is on the page, and drawn layer by
    layer as the pass comes to them. `compute()` does that from Python, where there is no page.

    Args:
        model: a HookedModel.
        prompt: the text; or several of equally many tokens, whose mean is shown.
        compare: another text (or several), of as many tokens: the picture shows `prompt` minus `compare`; "" for none.
        attention_type: "standard" (the pattern), "value-weighted" (times the norm of the source's value), "info-weighted" (times the norm of what the head would
            write of it) or "pre-softmax" (the scores); `mechwidgets.analysis.attention_values` has the formulas and the paper.
        layer, head: the head to begin with; by default the first.
        heads: those to show large beside it, such as `[(4, 7), (9, 6)]`.
        position: the token that is locked, from 0.
        direction: the tokens are coloured by what that token attends to ("from" it), or by what attends "to" it.
        scores: your own score of each head: an array [layer, head], a DataArray (its name shows), or several by name in a dict.
        score: what tints the thumbnails: "previous_token", "duplicate_token", "induction", "entropy" (see `head_scores`), "difference" (the largest between
            the prompts) or the name of one of your own; "" for none.
        prediction: whether the next-token distribution stands beside the heads, with what is switched off and without it.
        order: "layer" (layers down, heads across) or "score" (the highest first).
        interventions: what is switched off to begin with, such as `[mw.ablate(head=(4, 7))]`; or an `mw.Interventions` that other pictures share.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        settings: `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt, compare, attention_type: assign to look at something else.
        tokens: the texts of the first prompt's tokens, [pos].
        layer, head: the chosen head; assign to choose, `observe` to follow clicks.
        heads: those that are shown large beside it, a list of (layer, head).
        position, direction: the locked token, or None, and which way its attention is read.
        scores: your own by name, each float32 [layer, head]; assign any of what the argument takes.
        interventions: what is switched off now, a list of Intervention.
        complete: whether the heads are computed.
        n_layers, n_heads, model_name: of the model.
        alternatives: what the other prompts have at each position where they differ, [pos] lists of texts.
        score_names, score_values: all scores, their names and float32 [score, layer, head]; NaN where the prompt does not define one.
        thumbnails, thumbnail_block, limits: what the map draws: uint8 [layer, head, pos / block, pos / block] (1 to 255 from one of the head's limits to the other, 0
            for no value), the tokens a pixel, and where each head's colours end, float32 [layer, head, 2].
        diverging: whether the values are differences.

    Raises:
        ValueError: a prompt that cannot be run (empty, too long), prompts of different numbers of tokens, or a layer, head or score that there is not.
        TypeError: an argument that the picture does not take.
    """

    inputs = ("prompt", "compare", "attention_type", "prepend_bos")
    settings = (
        "layer",
        "head",
        "heads",
        "position",
        "direction",
        "scores",
        "score",
        "order",
        "prediction",
        "interventions",
    )

    prompt = Texts()
    compare = Texts()
    attention_type = traitlets.Enum(ATTENTION_TYPES, "standard").tag(sync=True)
    prepend_bos = PrependBos()
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    alternatives = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    n_layers = traitlets.Int(0).tag(sync=True)
    n_heads = traitlets.Int(0).tag(sync=True)
    complete = traitlets.Bool(True).tag(sync=True)
    thumbnails = traitlets.Dict().tag(sync=True)
    thumbnail_block = traitlets.Int(1).tag(sync=True)
    limits = traitlets.Dict().tag(sync=True)
    diverging = traitlets.Bool(False).tag(sync=True)
    scores = traitlets.Any(None, allow_none=True)
    score_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    score_values = traitlets.Dict().tag(sync=True)
    score = traitlets.Unicode("").tag(sync=True)
    order = traitlets.Enum(("layer", "score"), "layer").tag(sync=True)
    prediction = traitlets.Bool(True).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    heads = traitlets.List(traitlets.Tuple(traitlets.Int(), traitlets.Int())).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)
    direction = traitlets.Enum(("from", "to"), "from").tag(sync=True)
    interventions = InterventionList()

    def __init__(
        self,
        model: HookedModel,
        prompt: str | Sequence[str],
        *,
        compare: str | Sequence[str] = "",
        attention_type: str = "standard",
        prepend_bos: bool | None = None,
        **settings: Any,
    ) -> None:
        inputs = {"prompt": prompt, "compare": compare, "attention_type": attention_type, "prepend_bos": prepend_bos}
        # Scores are not of the model's making, and the names of all have to be known before one is chosen.
        self._own: dict[str, np.ndarray] = {}
        if isinstance(model, HookedModel):
            self._own = read_scores(settings.get("scores"), model.cfg.n_layers, model.cfg.n_heads)
            settings.setdefault("layer", next(iter(attention_layers(model)), 0))
        super().__init__(model, inputs, **settings)

    def _check_input(self, name: str, value: Any) -> None:
        if name in ("prompt", "compare"):
            self.traits()[name].validate(self, value)
        elif name == "attention_type":
            if value not in ATTENTION_TYPES:
                raise RefusedError(f"There is no attention_type {value!r}. It is one of {', '.join(ATTENTION_TYPES)}.")
        else:
            super()._check_input(name, value)

    def _ask(self, prompt: Any, compare: Any, attention_type: str, prepend_bos: bool | None) -> Answer:
        cfg = self.model.cfg
        prompts = read_prompts(self.model, prompt, compare, prepend_bos)
        read = AttentionPass(self.model, prompts, attention_type, KEPT_HEAD_BYTES)
        if not read.is_long:
            read.run()
        traits = {
            "tokens": self.model.token_texts(prompts.tokens[0].tolist()),
            "alternatives": alternatives(self.model, prompts),
            "n_layers": cfg.n_layers,
            "n_heads": cfg.n_heads,
            **read.traits(),
            **self._score_traits(read),
        }
        # What was locked has no meaning behind the end of a shorter prompt.
        if self.position is not None and self.position >= prompts.tokens.shape[1]:
            traits["position"] = None
        return Answer(traits, read)

    def compute(self) -> None:
        """Compute the heads of a long prompt now, unless they are.

        Raises:
            RefusedError: the model gives NaN or infinite logits.
        """
        with self._turn, suspended(), refusing():
            self._complete()

    def _complete(self, request: Request | None = None) -> None:
        read: AttentionPass = self._data
        if read.log_probs is None:
            progress = AttentionProgress(read, request, lambda: self._score_values(read))
            read.run(lambda: [(self.layer, self.head), *self.heads], progress.check, progress.tell)
            with self.hold_sync():
                for name, value in {**self._score_traits(read), **read.traits()}.items():
                    setattr(self, name, value)

    def _score_traits(self, read: AttentionPass) -> dict[str, Any]:
        """All scores, the user's own last; and none chosen if the one that was is gone."""
        names = [*read.maps.score_names, *self._own]
        gone = {"score": "", "order": "layer"} if self.score not in ("", *names) else {}
        return {"score_names": names, "score_values": to_wire(self._score_values(read)), **gone}

    def _score_values(self, read: AttentionPass) -> np.ndarray:
        return np.concatenate([read.maps.scores, *(one[None] for one in self._own.values())])

    def to_circuitsvis(self, layer: int | None = None) -> Any:
        """The heads of one layer as they are drawn here, by the CircuitsVis package: its RenderedHTML, from the bundle in its wheel, with no network.

        Args:
            layer: by default the chosen one.

        Raises:
            ValueError: a layer that the model does not have, or a prompt so long that a notebook could not hold its patterns.
        """
        from mechwidgets.widgets.circuitsvis import rendered

        layer = self.layer if layer is None else layer
        check_range("layer", layer, self.model.cfg.n_layers)
        with self._turn, suspended():
            drawn, tokens = self._data.drawn(layer), self.tokens
        reach = {} if self.attention_type == "standard" else {"maxValue": float(np.abs(drawn).max())}
        return rendered(
            "AttentionHeads",
            attention=drawn,
            attentionHeadNames=[f"L{layer}H{head}" for head in range(len(drawn))],
            tokens=tokens,
            **({**reach, "minValue": float(drawn.min())} if drawn.min() < 0 else reach),
        )

    def _handlers(self) -> Mapping[str, Handler]:
        return {
            "set_inputs": self._set_inputs_asked,
            "thumbnails": self._thumbnails,
            "patterns": self._patterns,
            "predict": self._predict,
        }

    def _set_inputs_asked(self, request: Request, **inputs: Any) -> dict[str, Any]:
        """`prompt`, `compare`, `attention_type`, or several of them together."""
        for name in inputs:
            if name not in self.inputs:
                raise ValueError(f"There is no input {name!r}. The picture is computed from {', '.join(self.inputs)}.")
        self._set_inputs(request, **inputs)
        return {}

    def _thumbnails(self, request: Request) -> dict[str, Any]:
        """Compute the heads of a long prompt, and tell of each layer when it is there."""
        self._complete(request)
        return {}

    def _patterns(self, request: Request, heads: Sequence[Head]) -> dict[str, Any]:
        """Whole heads, each the lower triangle, row by row, float32 [pos (pos + 1) / 2]: of the prompts, and of those that they are compared with."""
        wanted = [(int(layer), int(head)) for layer, head in heads]
        self._check_heads(wanted)
        found = self._data.whole(wanted, request.check)
        return {
            "patterns": [triangles[0] for triangles in found],
            "compared": [triangle for triangles in found for triangle in triangles[1:]],
        }

    def _predict(self, request: Request, interventions: Sequence[Any]) -> dict[str, Any]:
        """The next-token distribution of the first prompt without and with interventions."""
        changes = [Intervention.from_json(one) for one in interventions]
        read: AttentionPass = self._data
        change = prediction_change(self.model, read.prompts.tokens[:1], changes, before=read.log_probs)
        return distribution_of(change)

    def _predict_each(
        self, changes: Sequence[Sequence[Intervention]]
    ) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        """What `_predict` says of several lists of interventions, with indices into these."""
        for indices, found in prediction_changes(self.model, self._data.prompts.tokens[:1], changes):
            yield indices, list(map(distribution_of, found))

    def _check_heads(self, heads: Sequence[Head]) -> None:
        for layer, head in heads:
            check_range("layer", layer, self.model.cfg.n_layers)
            check_range("head", head, self.model.cfg.n_heads)

    @traitlets.validate("compare", "attention_type")
    def _ask_before_accepting_too(self, proposal: Any) -> Any:
        return self._ask_before_accepting(proposal)

    @traitlets.validate("layer", "head", "position")
    def _place_in_range(self, proposal: Any) -> int | None:
        name: str = proposal["trait"].name
        index: int | None = proposal["value"]
        sizes = {"layer": self.model.cfg.n_layers, "head": self.model.cfg.n_heads, "position": len(self.tokens)}
        with refusing():
            if index is not None:
                check_range(name, index, sizes[name])
        return index

    @traitlets.validate("heads")
    def _heads_in_range(self, proposal: Any) -> list[Head]:
        with refusing():
            self._check_heads(proposal["value"])
        return list(dict.fromkeys(proposal["value"]))

    @traitlets.validate("scores")
    def _scores_fit(self, proposal: Any) -> dict[str, np.ndarray]:
        with refusing():
            return read_scores(proposal["value"], self.model.cfg.n_layers, self.model.cfg.n_heads)

    @traitlets.observe("scores")
    def _take_scores(self, change: Any) -> None:
        self._own = change["new"] or {}
        with self._turn, self.hold_sync():
            for name, value in self._score_traits(self._data).items():
                setattr(self, name, value)

    @traitlets.validate("score")
    def _score_known(self, proposal: Any) -> str:
        name = proposal["value"]
        if name and name not in self.score_names:
            raise RefusedError(
                f"There is no score {name!r}.{nearest(name, self.score_names)} There are: {', '.join(self.score_names)}."
            )
        return str(name)

    @traitlets.validate("interventions")
    def _interventions_fit(self, proposal: Any) -> list[Intervention]:
        with refusing():
            for intervention in proposal["value"]:
                intervention.check(self.model)
        return list(proposal["value"])
