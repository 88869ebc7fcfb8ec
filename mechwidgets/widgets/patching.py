"""PatchingView: which activations carry the answer from a clean run into a corrupted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import traitlets

from mechwidgets.analysis.axes import NEURON_SITES, SITES, Axes
from mechwidgets.analysis.joint_effect import JointEffect, joint_effect
from mechwidgets.analysis.metrics import KL, BoundMetric, LogitDiff, LogProb, Metric, Prob, ProbDiff, Rank
from mechwidgets.analysis.question import DIRECTIONS, Question
from mechwidgets.analysis.result import PatchingResult
from mechwidgets.analysis.result_code import as_python
from mechwidgets.analysis.resume import SavedSweep
from mechwidgets.analysis.sweep import Cells, PairSweep
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import nearest, site_of
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.interventions import patch_from
from mechwidgets.model.places import check_range
from mechwidgets.model.run import suspended
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.code import view_code
from mechwidgets.widgets.interventions import InterventionList
from mechwidgets.widgets.optional import PrependBos
from mechwidgets.widgets.patching_traits import PatchingTraits, axis, names_of
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.view import Answer, ModelView, RefusedError, refusing

# What the picture can read: by name, what is made of the answer and the wrong one.
METRICS: dict[str, Callable[[str, str], Metric]] = {
    "LogitDiff": LogitDiff,
    "LogProb": lambda answer, _: LogProb(answer),
    "Prob": lambda answer, _: Prob(answer),
    "ProbDiff": ProbDiff,
    "Rank": lambda answer, _: Rank(answer),
    "KL": lambda *_: KL(),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """What the kernel keeps of a question.

    Attributes:
        question: the pair of prompts.
        metric: what is read.
        found: by site, what has been found of it: a sweep until all has, then its result.
        pinned: what was pinned in the picture, by its place.
    """

    question: Question
    metric: BoundMetric
    found: dict[str, SavedSweep | PatchingResult]
    pinned: dict[Any, Intervention] = field(default_factory=dict)


class PatchingView(PatchingTraits, ModelView, kind="patching"):
    """Activation patching over a pair of prompts: activations of one run are put into the other, one cell at a time.

    The picture appears at once and fills while the kernel works; other cells can run meanwhile.

    Args:
        model: a HookedModel.
        clean, corrupted: two prompts of equally many tokens.
        answer, wrong: the right and the wrong next token of the clean prompt, one token each.
        site: what is patched: "resid_pre", "resid_mid", "resid_post", "attn_out" and "mlp_out" (layer x position), "z", "q", "k", "v", "result", "pattern" and
            "attn_scores" (layer x head), of those that the model has.
        metric: what is read: "LogitDiff" (of the answer and the wrong one), "LogProb", "Prob" or "Rank" (of the answer), "ProbDiff", or "KL" (to the run that
            activations come from).
        direction: "denoise" puts clean activations into the corrupted run, "noise" corrupted ones into the clean run.
        scale: "normalized" (0 = corrupted run, 1 = clean run) or "raw" (the metric's unit).
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        settings: `reach` (the colours end at the other of the "baselines", or at the largest of the "values"), `layer`, `head` and `position`, `title`, and what
            every ipywidget takes (`layout`, `tabbable`, `tooltip`); `interventions` (what is pinned to begin with, such as
            `[mw.patch_from(clean, "z", 23, head=3, model=model)]`; or an `mw.Interventions` that other pictures share).

    Attributes:
        site, metric, direction, scale: assign to change what is shown.
        layer, head, position: the chosen place, each a number or None.
        interventions: what is pinned, a list of Intervention: carried out together on the run that is changed. Another pair takes patches out of it.
        result: the numbers of the site that is shown.
        clean_tokens, corrupted_tokens: the texts of the prompts' tokens, [pos].
        axes: what each site's table goes along: by site, `name` and `values` of each axis.
        results: the metric after patching, by site, float32 of the axes' shape; NaN where the model gave it, None where it was not run to the end.
        computed, absent: by site, uint8 of that shape: the cells that were run, where not all were; those that the model does not have, where there are some.
        details: what else is known of a finished result's cells, float32: "exact" (the metric), "stderr", "low", "high" (of the effect), "p" (corrected).
        clean_metric, corrupted_metric: of the two prompts as they are; None where there is one prompt only.
        metrics, directions, sites: what can be chosen.
        heading, names, metric_name, caption: what the picture calls things, and how good its numbers are.
        approximate, finished: whether the numbers are first-order approximations, and whether they are all there is.
        model_name: what the picture calls the model.

    Raises:
        ValueError: prompts, answers, a site, metric or direction that cannot be used; the message says why.
        TypeError: an argument that the picture does not take, or an answer that is not a text.
    """

    inputs = ("clean", "corrupted", "answer", "wrong", "metric", "direction", "prepend_bos")
    settings = ("site", "scale", "reach", "layer", "head", "position", "interventions")

    prepend_bos = PrependBos()
    metrics = traitlets.List(traitlets.Unicode(), list(METRICS)).tag(sync=True)
    metric = traitlets.Unicode("LogitDiff").tag(sync=True)
    directions = traitlets.List(traitlets.Unicode(), list(DIRECTIONS)).tag(sync=True)
    site = traitlets.Unicode("resid_pre").tag(sync=True)
    reach = traitlets.Enum(("baselines", "values"), "baselines", allow_none=True).tag(sync=True)
    interventions = InterventionList()

    def __init__(  # noqa: PLR0913 - what is asked, and how it is shown
        self,
        model: HookedModel,
        clean: str,
        corrupted: str,
        answer: str,
        wrong: str,
        *,
        site: str = "resid_pre",
        metric: str = "LogitDiff",
        direction: str = "denoise",
        scale: str = "normalized",
        prepend_bos: bool | None = None,
        **settings: Any,
    ) -> None:
        inputs: dict[str, Any] = {"clean": clean, "corrupted": corrupted, "answer": answer, "wrong": wrong}
        inputs |= {"metric": metric, "direction": direction, "prepend_bos": prepend_bos}
        # the first question is about it, before there are traits
        self._first_site = site
        super().__init__(model, inputs, site=site, scale=scale, **settings)

    def set_prompts(self, clean: str, corrupted: str, answer: str, wrong: str) -> None:
        """Look at another pair.

        Raises:
            ValueError: prompts or answers that cannot be used; the picture stays as it was.
        """
        self._set_inputs(clean=clean, corrupted=corrupted, answer=answer, wrong=wrong)

    @property
    def result(self) -> PatchingResult:
        """The result for the site that is shown; runs what has not been run yet."""
        with self._turn:
            with suspended():
                if self.results[self.site] is None:
                    self._fill(self.site)
            result: PatchingResult = self._data.found[self.site]
            return result

    def joint_effect(self) -> JointEffect:
        """What the metric becomes with all `interventions` together and with each alone, in the run that is changed; whole forward passes."""
        with self._turn, suspended():
            asked: Asked = self._data
            return joint_effect(self.model, asked.question.base_tokens, asked.metric, self.interventions)

    def to_code(self) -> str:
        """As `View.to_code`; what was pinned is written as the patch that it is, not as its numbers."""
        pins = [self._pin_code(one) or f"mw.{one!r}" for one in self.interventions]
        return view_code(self, {"interventions": f"[{', '.join(pins)}]"})

    def _pin_code(self, change: Intervention) -> str | None:
        """A patch from the source of this pair as Python; None for anything else."""
        asked: Asked = self._data
        pinned = asked.pinned.get(_place(change))
        if pinned is None or pinned != change:
            return None
        source = as_python(self.clean if self.direction == "denoise" else self.corrupted)
        if self.prepend_bos is not None:
            source = f"model.to_tokens({source}, {self.prepend_bos})"
        where = {"head": change.head, "position": change.position if isinstance(change.position, int) else None}
        given = "".join(f", {name}={value}" for name, value in where.items() if value is not None)
        return f"mw.patch_from({source}, {change.site!r}, {change.layer}{given}, model=model)"

    def _check_input(self, name: str, value: Any) -> None:
        if name not in ("answer", "wrong") or isinstance(value, str):
            super()._check_input(name, value)
            return
        is_id = isinstance(value, (int, np.integer)) and 0 <= value < self.model.cfg.d_vocab
        text = f"{self.model.token_texts([int(value)])[0]!r}, the text of token {value}" if is_id else "' Mary'"
        raise TypeError(f"{name} is the text of one token; got {value!r}. Give it as text: {text}.")

    def _ask(self, **inputs: Any) -> Answer:
        site = self.site if self._answer_is_there else self._first_site
        first = self._sweep(site, **inputs)
        sites = [one for one in SITES if one not in NEURON_SITES and one in map(site_of, self.model.hook_dict)]
        axes = {one: Axes.of(self.model, one, first.question.n_pos) for one in sites}
        traits = {
            "clean_tokens": first.pair.clean_str_tokens,
            "corrupted_tokens": first.pair.corrupted_str_tokens,
            "metric_name": first.metric.name,
            "sites": sites,
            "names": names_of(sites, METRICS, DIRECTIONS),
            "axes": {one: [*map(axis, its.dims, its.values)] for one, its in axes.items()},
            "results": dict.fromkeys(sites),
            # not every layer of a hybrid has heads
            "absent": {one: to_wire(~its.exists) for one, its in axes.items() if not its.exists.all()},
            "clean_metric": first.clean_metric,
            "corrupted_metric": first.corrupted_metric,
            "interventions": self._still_meant(inputs),
            **({"position": None} if (self.position or 0) >= first.question.n_pos else {}),
        }
        return Answer(traits, Asked(first.question, first.metric, {site: SavedSweep(first)}))

    def _set_inputs(self, request: Request | None = None, **inputs: Any) -> None:
        with self._turn:
            is_other = self._is_other_pair({**self._answer.inputs, **inputs})
            super()._set_inputs(request, **inputs)
            # What pictures share outlives a prompt, but patches of the last pair mean nothing to any of them.
            if is_other and self.shared_interventions is not None:
                self.shared_interventions.drop_patches()

    def _still_meant(self, inputs: Mapping[str, Any]) -> list[Intervention]:
        """The interventions without those that put in what another run has: pins of another pair, or of the other direction."""
        if not self._answer_is_there or not self._is_other_pair(inputs):
            return list(self.interventions)
        return [one for one in self.interventions if one.op != "patch"]

    def _is_other_pair(self, inputs: Mapping[str, Any]) -> bool:
        before = self._answer.inputs
        return any(before[name] != inputs[name] for name in ("clean", "corrupted", "direction", "prepend_bos"))

    @property
    def _answer_is_there(self) -> bool:
        return "_answer" in self._trait_values

    def _sweep(self, site: str, **inputs: Any) -> PairSweep:
        clean, corrupted, answer, wrong, metric, direction, bos = (inputs[name] for name in self.inputs)
        if metric not in METRICS:
            raise ValueError(f"Unknown metric {metric!r}.{nearest(str(metric), METRICS)} It is {', '.join(METRICS)}.")
        return PairSweep(self.model, clean, corrupted, METRICS[metric](answer, wrong), site, direction, bos)

    def _found(self, site: str) -> SavedSweep:
        """What has been found of a site; when all has, the result takes its place, and what the sweep held of the model's runs is let go."""
        found: dict[str, Any] = self._data.found
        if site not in found:
            found[site] = SavedSweep(self._sweep(site, **self._answer.inputs))
        saved: SavedSweep = found[site]
        return saved

    def _handlers(self) -> Mapping[str, Handler]:
        return {"sweep": self._run_sweep, "set_inputs": self._take_inputs, "pin": self._pin, "joint": self._joint}

    def _pin(self, request: Request, site: str, **place: int | None) -> dict[str, Any]:
        """Add what one cell puts in to the interventions."""
        where = {name: place.get(name) for name in ("layer", "head", "position")}
        asked: Asked = self._data
        pinned = patch_from(asked.question.source_tokens, site, **where, model=self.model)
        request.check()
        asked.pinned[_place(pinned)] = pinned
        self.interventions = [*self.interventions, pinned]
        return {}

    def _joint(self, request: Request) -> dict[str, Any]:
        """What the interventions do together and each alone."""
        found = self.joint_effect()
        return {"together": found.together, "alone": list(found.alone)}

    def _take_inputs(self, request: Request, **inputs: Any) -> dict[str, Any]:
        unknown = set(inputs) - set(self.inputs)
        if unknown:
            raise ValueError(f"The picture is not computed from {', '.join(sorted(unknown))}.")
        self._set_inputs(request, **inputs)
        return {}

    def _run_sweep(self, request: Request, site: str) -> dict[str, Any]:
        """Fill one site's table, telling the picture as cells are done; what an earlier, cancelled request finished is not run again."""
        if self.results.get(site) is None:
            self._fill(site, request)
        return {}

    def _fill(self, site: str, request: Request | None = None) -> None:
        found = self._found(site)
        index = np.argwhere(found.done).astype(np.int32)
        untold = Cells(index, found.values[tuple(index.T)])
        for cells in found.sweep.run(found.missing()):
            found.take(cells)
            untold = untold.joined(cells)
            if request is None:
                continue
            if request.progress_due():
                request.progress(
                    {
                        "done": int(found.done.sum()),
                        "total": int(found.sweep.axes.exists.sum()),
                        "cells": untold.index,
                        "values": untold.values,
                    }
                )
                untold = Cells.none()
            request.check()
        self._data.found[site] = found.result()
        self.results = {**self.results, site: to_wire(found.values)}

    @traitlets.validate("metric", "direction")
    def _question_before_accepting(self, proposal: Any) -> Any:
        return self._ask_before_accepting(proposal)

    @traitlets.validate("site")
    def _site_is_offered(self, proposal: Any) -> str:
        site: str = proposal["value"]
        if site not in self.sites:
            raise RefusedError(
                f"The picture does not patch {site!r}.{nearest(site, self.sites)} Sites: {', '.join(self.sites)}."
            )
        return site

    @traitlets.validate("interventions")
    def _interventions_fit(self, proposal: Any) -> list[Intervention]:
        with refusing():
            for intervention in proposal["value"]:
                intervention.check(self.model)
        return list(proposal["value"])

    @traitlets.validate("layer", "head", "position")
    def _place_is_there(self, proposal: Any) -> int | None:
        name: str = proposal["trait"].name
        value: int | None = proposal["value"]
        cfg = self.model.cfg
        sizes = {"layer": cfg.n_layers, "head": cfg.n_heads, "position": len(self.clean_tokens)}
        if value is not None:
            with refusing():
                check_range(name, value, sizes[name])
        return value


def _place(change: Intervention) -> tuple[Any, ...]:
    return (change.site, change.layer, change.head, change.position)
