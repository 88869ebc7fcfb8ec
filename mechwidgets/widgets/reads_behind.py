"""ReadsBehind: the base of the pictures that read the model behind one token of a prompt, under interventions."""

from __future__ import annotations

from typing import Any

import traitlets

from mechwidgets.widgets.interventions import InterventionList
from mechwidgets.widgets.optional import Position, PrependBos
from mechwidgets.widgets.rpc import Request
from mechwidgets.widgets.view import ModelView


class ReadsBehind(ModelView):
    """A picture of what the model says behind one token.

    A subclass has the trait `prompt`, and these four among its inputs.

    Attributes:
        interventions: changes under which the model runs.
        position: behind which token; None for the end.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None).
    """

    interventions = InterventionList()
    position = Position()
    prepend_bos = PrependBos()

    def _check_input(self, name: str, value: Any) -> None:
        if name == "position":
            Position.check(value)
        elif name != "interventions":
            super()._check_input(name, value)

    def _set_inputs(self, request: Request | None = None, **inputs: Any) -> None:
        if "prompt" in inputs and not self._cross_validation_lock:
            # a place in the last prompt has no meaning in the next
            inputs = {"position": None, **inputs}
        super()._set_inputs(request, **inputs)

    @traitlets.validate("position", "interventions")
    def _ask_before_changing(self, proposal: Any) -> Any:
        return self._ask_unless_answered(proposal)
