from __future__ import annotations

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.heads import ENTROPY_QUERIES, SCORES, HeadScorer
from tests.models import tiny_hf_model, tiny_model

TOKENS = torch.tensor([7, 8, 9, 7, 8, 9])


def pattern(keys):
    """A head that attends to one key at each query."""
    one = torch.zeros(len(keys), len(keys))
    one[torch.arange(len(keys)), torch.tensor(keys)] = 1
    return one


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([0, 0, 1, 2, 3, 4], [1, 0, 0]),
        ([0, 1, 2, 0, 1, 2], [0, 1, 0]),
        ([0, 1, 2, 1, 2, 3], [0, 0, 1]),
        ([0, 1, 2, 3, 4, 5], [0, 0, 0]),
    ],
)
def test_a_head_made_for_it_scores_1(keys, expected):
    np.testing.assert_array_equal(HeadScorer(TOKENS)(pattern(keys)[None])[:3, 0], expected)


def test_a_uniform_head_scores_what_uniform_attention_gives():
    uniform = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    previous = np.mean([1 / n for n in range(2, 7)])
    copies = np.mean([1 / 4, 1 / 5, 1 / 6])
    entropy = np.mean([np.log(n) for n in range(2, 7)])
    np.testing.assert_allclose(HeadScorer(TOKENS)(uniform[None])[:, 0], [previous, copies, copies, entropy], rtol=1e-6)


def test_without_a_repeated_token_there_is_nothing_to_score():
    scores = HeadScorer(torch.tensor([7, 8, 9]))(torch.eye(3)[None])
    assert scores[0, 0] == 0
    assert np.isnan(scores[1:3]).all()
    assert scores[3] == 0


def test_entropies_of_a_long_prompt_are_those_of_torchs_distributions():
    n = 2 * ENTROPY_QUERIES + 7
    patterns = (
        torch.randn(2, n, n, dtype=torch.float64).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)
    )
    rows = torch.distributions.Categorical(probs=patterns[:, 1:]).entropy()
    np.testing.assert_allclose(HeadScorer(torch.arange(n))(patterns)[3], rows.mean(1), rtol=1e-5)


def test_one_token_has_no_previous_token():
    assert np.isnan(HeadScorer(torch.tensor([7]))(torch.ones(1, 1, 1))).all()


def test_scores_of_a_model_are_labelled():
    scores = mw.head_scores(tiny_model(), "When Mary gave Mary a drink")
    assert scores.dims == ("score", "layer", "head")
    assert scores.shape == (4, 3, 4)
    assert scores["score"].values.tolist() == list(SCORES)


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match="read from one prompt, got 2"):
        mw.head_scores(tiny_model(), ["Mary gave", "John gave"])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_scores_are_those_of_a_plain_transformers_run(family):
    hf_model = tiny_hf_model(family)
    with torch.no_grad():
        attentions = hf_model(TOKENS[None], output_attentions=True).attentions
    expected = np.stack([HeadScorer(TOKENS)(pattern[0]) for pattern in attentions], axis=1)
    np.testing.assert_array_equal(mw.head_scores(mw.HookedModel(hf_model, None), TOKENS), expected)


def test_hooks_of_the_cell_reach_the_scores():
    model = tiny_model()
    with model.hooks([("pattern", lambda pattern, hook: torch.zeros_like(pattern))]):
        assert float(mw.head_scores(model, "When Mary gave Mary a drink").max()) == 0


@pytest.mark.smollm2
def test_smollm2_has_previous_token_and_induction_heads(smollm2):
    torch.manual_seed(0)
    half = torch.randint(1000, 20000, (50,))
    scores = mw.head_scores(smollm2, torch.cat([half, half]))
    assert scores.sel(score="previous_token").max() > 0.8
    assert scores.sel(score="induction").max() > 0.8
