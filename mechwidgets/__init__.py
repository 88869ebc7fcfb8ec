"""Look inside language models from a notebook: named activations, and pictures of them that talk back.

The public names are imported on first use, so that `import mechwidgets` costs no import of torch or transformers.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> the module that holds it; a name that is itself a module maps to its parent package
_PUBLIC = {
    "HookedModel": "mechwidgets.model.hooked_model",
    "ActivationCache": "mechwidgets.model.cache",
    "FactoredMatrix": "mechwidgets.model.factored_matrix",
    "Intervention": "mechwidgets.model.intervention",
    "ablate": "mechwidgets.model.interventions",
    "mean_ablate": "mechwidgets.model.interventions",
    "patch_from": "mechwidgets.model.interventions",
    "resample": "mechwidgets.model.interventions",
    "steer": "mechwidgets.model.interventions",
    "PromptPair": "mechwidgets.model.prompt_pair",
    "LogitDiff": "mechwidgets.analysis.metrics",
    "KL": "mechwidgets.analysis.metrics",
    "LogProb": "mechwidgets.analysis.metrics",
    "Prob": "mechwidgets.analysis.metrics",
    "ProbDiff": "mechwidgets.analysis.metrics",
    "Rank": "mechwidgets.analysis.metrics",
    "SequenceLogProb": "mechwidgets.analysis.metrics",
    "logit_attribution": "mechwidgets.analysis.logit_attribution",
    "logit_lens": "mechwidgets.analysis.logit_lens",
    "head_scores": "mechwidgets.analysis.heads",
    "copying_score": "mechwidgets.analysis.head_circuits",
    "head_composition": "mechwidgets.analysis.head_composition",
    "ov_tokens": "mechwidgets.analysis.head_circuits",
    "qk_tokens": "mechwidgets.analysis.head_keys",
    "datasets": "mechwidgets.analysis",
    "patching": "mechwidgets.analysis",
    "load": "mechwidgets.widgets.document",
    "save": "mechwidgets.widgets.saving",
    "to_html": "mechwidgets.widgets.saving",
    "DocumentView": "mechwidgets.widgets.document",
    "display_mode": "mechwidgets.widgets.display_mode",
    "AttentionView": "mechwidgets.widgets.attention",
    "AttributionView": "mechwidgets.widgets.attribution",
    "HeadView": "mechwidgets.widgets.head",
    "Exercise": "mechwidgets.widgets.exercise",
    "PredictionView": "mechwidgets.widgets.prediction",
    "LogitLensView": "mechwidgets.widgets.logit_lens",
    "PatchingResultView": "mechwidgets.widgets.patching_result",
    "PatchingView": "mechwidgets.widgets.patching",
    "Interventions": "mechwidgets.widgets.interventions",
    "PatternsView": "mechwidgets.widgets.patterns",
    "Selection": "mechwidgets.widgets.selection",
    "TokensView": "mechwidgets.widgets.tokens",
    "TopTokensView": "mechwidgets.widgets.top_tokens",
    "Workbench": "mechwidgets.widgets.workbench",
}

# what a notebook shows as a picture, and its module
_RESULTS = {"PatchingResult": "result", "PairsResult": "pairs_result", "EdgeAttribution": "edge_result"}

__all__ = [
    "KL",
    "ActivationCache",
    "AttentionView",
    "AttributionView",
    "DocumentView",
    "Exercise",
    "FactoredMatrix",
    "HeadView",
    "HookedModel",
    "Intervention",
    "Interventions",
    "LogProb",
    "LogitDiff",
    "LogitLensView",
    "PatchingResultView",
    "PatchingView",
    "PatternsView",
    "PredictionView",
    "Prob",
    "ProbDiff",
    "PromptPair",
    "Rank",
    "Selection",
    "SequenceLogProb",
    "TokensView",
    "TopTokensView",
    "Workbench",
    "__version__",
    "ablate",
    "copying_score",
    "datasets",
    "display_mode",
    "head_composition",
    "head_scores",
    "load",
    "logit_attribution",
    "logit_lens",
    "mean_ablate",
    "ov_tokens",
    "patch_from",
    "patching",
    "qk_tokens",
    "resample",
    "save",
    "steer",
    "to_html",
]

if TYPE_CHECKING:
    from mechwidgets.analysis import datasets as datasets
    from mechwidgets.analysis import patching as patching
    from mechwidgets.analysis.head_circuits import copying_score as copying_score
    from mechwidgets.analysis.head_circuits import ov_tokens as ov_tokens
    from mechwidgets.analysis.head_composition import head_composition as head_composition
    from mechwidgets.analysis.head_keys import qk_tokens as qk_tokens
    from mechwidgets.analysis.heads import head_scores as head_scores
    from mechwidgets.analysis.logit_attribution import logit_attribution as logit_attribution
    from mechwidgets.analysis.logit_lens import logit_lens as logit_lens
    from mechwidgets.analysis.metrics import KL as KL
    from mechwidgets.analysis.metrics import LogitDiff as LogitDiff
    from mechwidgets.analysis.metrics import LogProb as LogProb
    from mechwidgets.analysis.metrics import Prob as Prob
    from mechwidgets.analysis.metrics import ProbDiff as ProbDiff
    from mechwidgets.analysis.metrics import Rank as Rank
    from mechwidgets.analysis.metrics import SequenceLogProb as SequenceLogProb
    from mechwidgets.model.cache import ActivationCache as ActivationCache
    from mechwidgets.model.factored_matrix import FactoredMatrix as FactoredMatrix
    from mechwidgets.model.hooked_model import HookedModel as HookedModel
    from mechwidgets.model.intervention import Intervention as Intervention
    from mechwidgets.model.interventions import ablate as ablate
    from mechwidgets.model.interventions import mean_ablate as mean_ablate
    from mechwidgets.model.interventions import patch_from as patch_from
    from mechwidgets.model.interventions import resample as resample
    from mechwidgets.model.interventions import steer as steer
    from mechwidgets.model.prompt_pair import PromptPair as PromptPair
    from mechwidgets.widgets.attention import AttentionView as AttentionView
    from mechwidgets.widgets.attribution import AttributionView as AttributionView
    from mechwidgets.widgets.display_mode import display_mode as display_mode
    from mechwidgets.widgets.document import DocumentView as DocumentView
    from mechwidgets.widgets.document import load as load
    from mechwidgets.widgets.exercise import Exercise as Exercise
    from mechwidgets.widgets.head import HeadView as HeadView
    from mechwidgets.widgets.interventions import Interventions as Interventions
    from mechwidgets.widgets.logit_lens import LogitLensView as LogitLensView
    from mechwidgets.widgets.patching import PatchingView as PatchingView
    from mechwidgets.widgets.patching_result import PatchingResultView as PatchingResultView
    from mechwidgets.widgets.patterns import PatternsView as PatternsView
    from mechwidgets.widgets.prediction import PredictionView as PredictionView
    from mechwidgets.widgets.saving import save as save
    from mechwidgets.widgets.saving import to_html as to_html
    from mechwidgets.widgets.selection import Selection as Selection
    from mechwidgets.widgets.tokens import TokensView as TokensView
    from mechwidgets.widgets.top_tokens import TopTokensView as TopTokensView
    from mechwidgets.widgets.workbench import Workbench as Workbench


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mechwidgets' has no attribute {name!r}")
    if _PUBLIC[name] == "mechwidgets.analysis":
        value = importlib.import_module(f"mechwidgets.analysis.{name}")
    else:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _show_results() -> None:
    """Tell IPython what shows a result, which is of a layer that knows no pictures."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell:

        def show(result: Any) -> Any:
            return importlib.import_module("mechwidgets.widgets.patching_result").mimebundle(result)

        formatter = shell.display_formatter.mimebundle_formatter
        for name, where in _RESULTS.items():
            formatter.for_type_by_name(f"mechwidgets.analysis.{where}", name, show)


_show_results()


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "mechwidgets"}]
