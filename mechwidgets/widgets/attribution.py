"""AttributionView: what each component adds directly to the logit of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from mechwidgets.analysis.logit_attribution import Attribution, attribute
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.errors import refusing
from mechwidgets.widgets.interventions import Interventions
from mechwidgets.widgets.reads_behind import ReadsBehind
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.view import Answer

TOP_NEURONS = 12
TOP_TOKENS = 10
# What the picture may change.
_CHANGEABLE = ("prompt", "answer", "wrong")


class AttributionView(ReadsBehind, kind="attribution"):
    """Direct logit attribution: what the embedding, each attention head and each MLP add to the logit of an answer, or to its difference from a wrong one's.

    With the scale of the final norm held as it was in the run, the parts add up to the logit (before a soft cap, where a family has one). Click a component for
    the tokens that it writes towards and away from, and an MLP for its neurons. What a component does by way of later ones is not in it.

    Args:
        model: a HookedModel.
        prompt: the text.
        answer: the next token, a text or an id; "" for what the model finds most probable.
        wrong: the token whose logit is subtracted, a text or an id; "" for none.
        position: where the next token is read; None for the end.
        interventions: changes under which the model runs, such as `[mw.ablate(head=(4, 7))]`, or an Interventions shared with other pictures.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        settings: `layer`, `head`, `part` and `neuron`, `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt, answer, wrong, position, interventions: assign to ask about something else.
        tokens: the texts of the prompt's tokens, [pos].
        layer, head: the chosen component's; `head` is None for a whole layer's attention or MLP.
        part: "attn" or "mlp" of the chosen layer, or, without a layer, "embed" or "pos_embed".
        neuron: the chosen neuron of the MLP, or None.
        attribution: the numbers, a `mechwidgets.analysis.logit_attribution.Attribution`.
        answer_text, wrong_text: the two tokens as texts; "" where nothing is subtracted.
        answered: the `position` and the `interventions` that the numbers are of.
        layer_values, head_values, head_bias: in logits, float32: [layer, 2] of attention and MLP, [layer, head], and [layer] of what attention adds besides its heads;
            NaN where there is none.
        others: what is no layer's, in logits, by name: "embed", "pos_embed", "bias", "rest".
        total, logit, capped: what all parts add up to, the model's own (both in logits), and whether a soft cap stands between them.
        n_layers, n_heads, model_name: of the model.

    Raises:
        ValueError: a prompt that cannot be run, an answer that is not one token, or a place that the model or the prompt does not have.
        TypeError: an argument that the picture does not take.
    """

    inputs = ("prompt", "answer", "wrong", "position", "interventions", "prepend_bos")
    settings = ("layer", "head", "part", "neuron")

    prompt = traitlets.Unicode("").tag(sync=True)
    answer = traitlets.Union([traitlets.Unicode(""), traitlets.Int()]).tag(sync=True)
    wrong = traitlets.Union([traitlets.Unicode(""), traitlets.Int()]).tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    answer_text = traitlets.Unicode("").tag(sync=True)
    wrong_text = traitlets.Unicode("").tag(sync=True)
    answered = traitlets.Dict().tag(sync=True)
    n_layers = traitlets.Int(0).tag(sync=True)
    n_heads = traitlets.Int(0).tag(sync=True)
    layer_values = traitlets.Dict().tag(sync=True)
    head_values = traitlets.Dict().tag(sync=True)
    head_bias = traitlets.Dict().tag(sync=True)
    others = traitlets.Dict().tag(sync=True)
    total = traitlets.Float(0.0).tag(sync=True)
    logit = traitlets.Float(0.0).tag(sync=True)
    capped = traitlets.Bool(False).tag(sync=True)
    layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    head = traitlets.Int(None, allow_none=True).tag(sync=True)
    part = traitlets.Enum(("attn", "mlp", "embed", "pos_embed"), "attn").tag(sync=True)
    neuron = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        model: HookedModel,
        prompt: str,
        answer: str | int = "",
        wrong: str | int = "",
        *,
        position: int | None = None,
        interventions: Sequence[Intervention] | Interventions = (),
        prepend_bos: bool | None = None,
        **settings: Any,
    ) -> None:
        inputs: dict[str, Any] = {"prompt": prompt, "answer": answer, "wrong": wrong, "position": position}
        inputs["prepend_bos"] = prepend_bos
        inputs["interventions"] = list(interventions)
        super().__init__(model, inputs, interventions=interventions, **settings)

    @property
    def attribution(self) -> Attribution:
        """The numbers that the picture shows."""
        found: Attribution = self._data
        return found

    def _check_input(self, name: str, value: Any) -> None:
        if not (name in ("answer", "wrong") and _is_int(value)):
            super()._check_input(name, value)

    def _ask(
        self,
        prompt: str,
        answer: str | int,
        wrong: str | int,
        position: int | None,
        interventions: Sequence[Intervention],
        prepend_bos: bool | None,
    ) -> Answer:
        tokens = self.model.to_tokens(prompt, prepend_bos)
        right, other = (None if one == "" else one for one in (answer, wrong))
        found = attribute(self.model, tokens, right, other, position, list(interventions))
        words = self.model.token_texts([found.answer, *([] if found.wrong is None else [found.wrong])])
        traits = {
            "tokens": self.model.token_texts(tokens[0].tolist()),
            "answer_text": words[0],
            "wrong_text": words[1] if len(words) > 1 else "",
            "answered": {"position": found.position, "interventions": [one.to_json() for one in interventions]},
            "n_layers": self.model.cfg.n_layers,
            "n_heads": self.model.cfg.n_heads,
            "layer_values": to_wire(found.layers),
            "head_values": to_wire(found.heads),
            "head_bias": to_wire(found.head_bias),
            "others": found.others,
            "total": found.total,
            "logit": found.logit,
            "capped": found.capped,
        }
        return Answer(traits, found)

    def _handlers(self) -> Mapping[str, Handler]:
        return {"set_inputs": self._set, "component": self._component}

    def _set(self, request: Request, **changes: Any) -> dict[str, Any]:
        unknown = set(changes) - set(_CHANGEABLE)
        if unknown:
            raise ValueError(f"The picture changes {', '.join(_CHANGEABLE)}; got {', '.join(sorted(unknown))}.")
        self._set_inputs(request, **changes)
        return {}

    def _component(
        self, request: Request, part: str, layer: int | None, head: int | None, neuron: int | None
    ) -> dict[str, Any]:
        """The tokens that a component writes towards and away from; of an MLP, its neurons that add most, either way."""
        found = self.attribution
        writes = found.writes(found.written(part, layer, head, neuron), TOP_TOKENS)
        answer: dict[str, Any] = {
            "up": self.model.token_texts(writes.up),
            "up_values": writes.up_values,
            "down": self.model.token_texts(writes.down),
            "down_values": writes.down_values,
            "on_answer": writes.on_answer,
            "on_wrong": writes.on_wrong,
        }
        if layer is None or part not in ("mlp", "neuron") or ("post", layer) not in found.cache:
            return answer
        values, activations = found.neurons(layer)
        top = np.argsort(-np.abs(values))[:TOP_NEURONS]
        return answer | {
            "neurons": {
                "count": len(values),
                "index": top,
                "values": values[top],
                "activations": activations[top],
                "others": float(values.sum() - values[top].sum()),
                "bias": float(found.layers[layer, 1] - values.sum()),
                "value": None if neuron is None else float(values[neuron]),
                "activation": None if neuron is None else float(activations[neuron]),
            }
        }

    @traitlets.validate("layer", "head", "neuron")
    def _place_in_range(self, proposal: Any) -> int | None:
        name, value = proposal["trait"].name, proposal["value"]
        if value is None:
            return None
        cfg = self.model.cfg
        size = {"layer": cfg.n_layers, "head": cfg.n_heads, "neuron": cfg.d_mlp}[name]
        with refusing():
            # where layers differ in their neurons, the request knows how many there are
            check_range(name, value, value + 1 if size is None and value >= 0 else size or 0)
        return int(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
