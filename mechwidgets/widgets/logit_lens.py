"""LogitLensView: what each layer would predict at each position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from mechwidgets.analysis.lens_column import read_column
from mechwidgets.analysis.lens_states import STREAMS, LensStates, read_states, streams_of
from mechwidgets.analysis.logit_lens import Reading, check_lengths, lens_dataset, read_lens
from mechwidgets.analysis.tuned_lens import translation
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.model.prompt_pair import check_answer
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.interventions import InterventionList, Interventions
from mechwidgets.widgets.optional import PrependBos
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.view import Answer, ModelView, RefusedError, refusing

# What the numbers of all cells may take of a saved notebook, in which they are a third longer; long prompts show fewer top tokens before they are asked for.
NUMBER_BYTES = 190_000
TOP_K = 10
_BYTES_PER_TOKEN = 8
_BYTES_PER_CELL = 16
# States kept for later clicks: those of two prompts of 256 tokens in SmolLM2; those of longer prompts are computed again. Not more, because ipywidgets keeps every picture that
# was not closed, such as those of a cell that was run ten times.
KEPT_STATE_BYTES = 40_000_000
COLORS = ("probability", "target_probability", "rank", "entropy", "kl", "divergence")
# What the picture may change.
_CHANGEABLE = ("prompt", "compare", "stream", "target", "tuned")


class LogitLensView(ModelView, kind="logit_lens"):
    """The logit lens of one prompt: layer x position, each cell the token that the model would predict if its layers ended there.

    Point at a cell for its most probable tokens; click it to follow tokens through the layers at that position.

    Args:
        model: a HookedModel.
        prompt: the text.
        compare: a second text of equally many tokens, whose differences from the first are shown; "" for none.
        stream: what is read of each layer: "resid_post", "resid_pre" or "resid_mid", the residual stream; "attn_out" or "mlp_out", what that component alone
            writes, read as if it were the whole stream.
        tuned_lens: translators, as `mechwidgets.logit_lens` takes them; the picture can switch between them and the plain lens.
        target: the token, a text or an id, whose rank and probability colour the cells; "" for what the model finally predicts at each position.
        color_by: "probability" of the cell's top token, "target_probability", "rank" of the target, "entropy" of the distribution (nats), "kl" of it from
            the output's (nats), or, with `compare`, "divergence" of the second prompt's distribution from the first's (nats).
        interventions: changes under which the model runs, such as `[mw.ablate(head=(4, 7))]`, or an Interventions shared with other pictures.
        settings: `prepend_bos` (a BOS token in front, none, or what the tokenizer does by itself; as in `model(prompt, prepend_bos=...)`), `tuned`, whether it begins with the tuned lens; `layer` and `position`, `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt, compare, stream, target, interventions: assign to look at something else.
        tuned: whether the tuned lens reads; assign to switch.
        tokens: the texts of the prompt's tokens, [pos].
        layer, position: the chosen place, or None.
        lens: the numbers, as `mechwidgets.logit_lens` gives them.
        compare_tokens: the texts of the second prompt's tokens, [pos].
        answered: the `interventions` that the numbers are of.
        streams, has_tuned_lens: what this picture can read.
        target_text: the target as a text; "" for the output's own.
        row_labels: "embed" and the layers, or the layers and "output", [row].
        vocabulary, vocabulary_ids: the tokens, as texts and as ids, that `top_tokens` points into.
        top_tokens, top_probs: int32 and float32 [prompt, row, pos, k], the most probable first; probabilities 0 to 1.
        entropy, kl, max_entropy: in nats: float32 [prompt, row, pos] each, and the log of the vocabulary's size.
        rank, target_probs: of the target, [prompt, row, pos]: int32 (0 is the top, -1 none) and float32.
        divergence: of the second prompt from the first, in nats, float32 [row, pos].
        keeps_states: whether a position is answered for without running the model.
        n_layers, model_name: of the model.

    Raises:
        ValueError: a prompt that cannot be run (empty, too long), two of different token counts, a stream that the model has not, or a target that is not one
            token.
        TypeError: an argument that the picture does not take, or a tuned lens of another kind.
    """

    inputs = ("prompt", "compare", "stream", "target", "tuned", "interventions", "prepend_bos")
    settings = ("color_by", "layer", "position", "tuned_lens")

    prompt = traitlets.Unicode("").tag(sync=True)
    compare = traitlets.Unicode("").tag(sync=True)
    prepend_bos = PrependBos()
    stream = traitlets.Enum(STREAMS, "resid_post").tag(sync=True)
    streams = traitlets.List(traitlets.Unicode()).tag(sync=True)
    target = traitlets.Union([traitlets.Unicode(""), traitlets.Int()]).tag(sync=True)
    target_text = traitlets.Unicode("").tag(sync=True)
    tuned = traitlets.Bool(False).tag(sync=True)
    tuned_lens = traitlets.Any(None)
    interventions = InterventionList()
    answered = traitlets.Dict().tag(sync=True)
    has_tuned_lens = traitlets.Bool(False).tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    compare_tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    n_layers = traitlets.Int(0).tag(sync=True)
    keeps_states = traitlets.Bool(True).tag(sync=True)
    row_labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    vocabulary = traitlets.List(traitlets.Unicode()).tag(sync=True)
    vocabulary_ids = traitlets.Dict().tag(sync=True)
    top_tokens = traitlets.Dict().tag(sync=True)
    top_probs = traitlets.Dict().tag(sync=True)
    entropy = traitlets.Dict().tag(sync=True)
    max_entropy = traitlets.Float(0.0).tag(sync=True)
    kl = traitlets.Dict().tag(sync=True)
    rank = traitlets.Dict().tag(sync=True)
    target_probs = traitlets.Dict().tag(sync=True)
    divergence = traitlets.Dict().tag(sync=True)
    color_by = traitlets.Enum(COLORS, "probability").tag(sync=True)
    layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        model: HookedModel,
        prompt: str,
        *,
        compare: str = "",
        stream: str = "resid_post",
        tuned_lens: Any = None,
        target: str | int = "",
        color_by: str | None = None,
        interventions: Sequence[Intervention] | Interventions = (),
        **settings: Any,
    ) -> None:
        inputs: dict[str, Any] = {
            "prompt": prompt,
            "compare": compare,
            "stream": stream,
            "target": target,
            "interventions": list(interventions),
            "prepend_bos": settings.pop("prepend_bos", None),
        }
        inputs["tuned"] = settings.pop("tuned", tuned_lens is not None)
        self._tuned_lens = tuned_lens
        self._held: tuple[Any, list[LensStates]] | None = None
        # Ends the reading of a long prompt that nobody waits for any more.
        self._check: Callable[[], None] = lambda: None
        if tuned_lens is not None and isinstance(model, HookedModel):
            translation(model, tuned_lens)
        color_by = color_by or ("divergence" if compare else "probability")
        super().__init__(
            model, inputs, color_by=color_by, tuned_lens=tuned_lens, interventions=interventions, **settings
        )

    @property
    def lens(self) -> Any:
        """The logit lens of the prompt (and of the one it is compared with), an xarray Dataset."""
        return self._data

    def _check_input(self, name: str, value: Any) -> None:
        if name == "tuned":
            if value and self._tuned_lens is None:
                raise ValueError("This picture has no tuned lens. Make one with mw.LogitLensView(..., tuned_lens=...).")
        elif name != "interventions" and not (name == "target" and _is_id(value)):
            super()._check_input(name, value)

    def _ask(self, **inputs: Any) -> Answer:
        target = inputs["target"]
        # Asked the same again, the model may have changed meanwhile.
        states = self._states(again=target == self.target, **inputs)
        target_id = None if target == "" else check_answer(self.model, target, "Target token")
        cells = sum(len(prompt.rows) * prompt.tokens.shape[1] for prompt in states)
        k = (NUMBER_BYTES // cells - _BYTES_PER_CELL) // _BYTES_PER_TOKEN
        reading = read_lens(self.model, states, min(max(1, k), TOP_K, self.model.cfg.d_vocab), target_id, self._check)
        lens = lens_dataset(self.model, states, reading)
        traits = self._numbers(reading) | {
            "answered": {"interventions": [one.to_json() for one in inputs["interventions"]]},
            "has_tuned_lens": self._tuned_lens is not None,
            "streams": streams_of(self.model, inputs["tuned"]),
            "target_text": "" if target_id is None else self.model.token_texts([target_id])[0],
            "tokens": self.model.token_texts(states[0].tokens[0].tolist()),
            "compare_tokens": [] if len(states) < 2 else self.model.token_texts(states[1].tokens[0].tolist()),
            "n_layers": self.model.cfg.n_layers,
            "row_labels": states[0].rows,
            "keeps_states": self._held is not None,
            "max_entropy": lens.attrs["max_entropy"],
        }
        if self.tokens and self.tokens != traits["tokens"]:
            # a cell of the last prompt has no meaning in this one
            traits |= {"layer": None, "position": None}
        return Answer(traits, lens)

    def _numbers(self, reading: Reading) -> dict[str, Any]:
        ids, where = np.unique(reading.top_token, return_inverse=True)
        return {
            "vocabulary": self.model.token_texts(ids.tolist()),
            "vocabulary_ids": to_wire(ids),
            "top_tokens": to_wire(where.reshape(reading.top_token.shape)),
            "top_probs": to_wire(reading.probability),
            "entropy": to_wire(reading.entropy),
            "kl": to_wire(reading.kl),
            "rank": to_wire(reading.rank),
            "target_probs": to_wire(reading.target_probability),
            "divergence": to_wire(reading.divergence if len(reading.rank) > 1 else reading.divergence[:0]),
        }

    def _states(
        self, *, again: bool, prompt: str, compare: str, stream: str, tuned: bool, **inputs: Any
    ) -> list[LensStates]:
        """What the lens reads of each prompt; unless it is to be read again, as it was kept, where that is what is asked for."""
        prepend_bos, interventions = inputs["prepend_bos"], inputs["interventions"]
        key = (prompt, compare, stream, tuned, prepend_bos, interventions)
        if not again and self._held is not None and self._held[0] == key:
            return self._held[1]
        prompts = [self.model.to_tokens(text, prepend_bos) for text in [prompt, *([compare] if compare else [])]]
        check_lengths(self.model, prompts)
        tuned_lens = self._tuned_lens if tuned else None
        states = [read_states(self.model, tokens, stream, tuned_lens, interventions) for tokens in prompts]
        kept = sum(one.nbytes for one in states) <= KEPT_STATE_BYTES
        self._held = (key, states) if kept else None
        return states

    def _handlers(self) -> Mapping[str, Handler]:
        return {"set_inputs": self._set, "column": self._column}

    def _set(self, request: Request, **changes: Any) -> dict[str, Any]:
        unknown = set(changes) - set(_CHANGEABLE)
        if unknown:
            raise ValueError(f"The picture changes {', '.join(_CHANGEABLE)}; got {', '.join(sorted(unknown))}.")
        self._check = request.check
        try:
            self._set_inputs(request, **changes)
        finally:
            self._check = lambda: None
        return {}

    def _column(self, request: Request, position: int, follow: Sequence[int], typed: str | None = None) -> Any:
        """The most probable tokens of all rows at a position, and what becomes there of the tokens `follow` (ids) and of one that was typed."""
        check_range("position", position, len(self.tokens))
        ids = [check_answer(self.model, token, "Token") for token in follow]
        if typed is not None:
            ids.append(check_answer(self.model, typed, "Token", self.tokens[position]))
        states = self._states(again=False, **self._answer.inputs)
        column = read_column(self.model, states, position, ids, TOP_K)
        known, where = np.unique(column.top_token, return_inverse=True)
        return {
            "ids": ids,
            "texts": self.model.token_texts(ids),
            "probability": column.probability,
            "rank": column.rank,
            "logit": column.logit,
            "vocabulary": self.model.token_texts(known.tolist()),
            "vocabulary_ids": known,
            "top_tokens": where.reshape(column.top_token.shape),
            "top_probs": column.top_probability,
        }

    @traitlets.validate("compare", "stream", "target", "tuned")
    def _ask_before_changing(self, proposal: Any) -> Any:
        return self._ask_before_accepting(proposal)

    @traitlets.validate("interventions")
    def _ask_under_interventions(self, proposal: Any) -> Any:
        return self._ask_unless_answered(proposal)

    @traitlets.validate("tuned_lens")
    def _made_with(self, proposal: Any) -> Any:
        if proposal["value"] is not self._tuned_lens:
            raise RefusedError("A picture keeps the tuned lens that it was made with. Make another picture.")
        return proposal["value"]

    @traitlets.validate("layer")
    def _layer_in_range(self, proposal: Any) -> int | None:
        return self._in_range("layer", proposal["value"], self.model.cfg.n_layers)

    @traitlets.validate("position")
    def _position_in_range(self, proposal: Any) -> int | None:
        return self._in_range("position", proposal["value"], len(self.tokens))

    @staticmethod
    def _in_range(name: str, value: int | None, size: int) -> int | None:
        if value is not None:
            with refusing():
                check_range(name, value, size)
        return value


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
