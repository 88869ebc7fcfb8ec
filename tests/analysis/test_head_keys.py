"""What a query looks for, against the scores that the model itself makes on a prompt."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.head_keys import key_scores
from mechwidgets.analysis.head_streams import vocabulary_streams
from tests import families
from tests.lively import lively_model

HEAD = 3
PROMPT = [5, 9, 3, 12, 22, 30, 7]
# keys that no matrix of their own makes, no attention in layer 0, or positions that are computed and cannot be taken out of a prompt
OTHERS = ("deepseek_v3", "jamba", "lfm2", "qwen3_5_text", "xglm")


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@functools.cache
def model_of(family):
    model = lively_model(family)
    if model.architecture.pos_embed is not None:
        # without learned positions a token's stream is the same everywhere, and in a prompt
        with torch.no_grad():
            for weight in model.architecture.pos_embed.parameters():
                weight.zero_()
    return model


@pytest.mark.parametrize("family", [family for family in families.FAMILIES if family not in OTHERS])
def test_scores_in_the_first_layer_are_those_of_a_prompt(family):
    """There the stream holds just the embeddings, so at each distance the score of a token is that which the prompt gives it there."""
    model, last = model_of(family), len(PROMPT) - 1
    _, cache = model.run_with_cache(torch.tensor([PROMPT]), names_filter="attn_scores")
    expected = cache["attn_scores", 0][0, HEAD, last]
    # A norm behind the rotation (Hunyuan) makes the key's own place count, which is taken to be 0.
    last_key = 1 if family == "hunyuan_v1_dense" else last
    # what a window hides has no score
    seen = [at for at in range(last_key) if float(expected[at]) > -1e4]
    assert len(seen) == last_key or len(seen) >= 2
    distant = [float(mw.qk_tokens(model, 0, HEAD, PROMPT[-1], distance=last - at)[PROMPT[at]]) for at in seen]
    found = np.array(distant) - np.array([float(expected[at]) for at in seen])
    if family in ("bloom", "mpt", "falcon rw"):
        # ALiBi: beyond the content, each step back is worth the same
        steps = np.diff(found)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
        assert abs(steps[0]) > 1e-3
    else:
        np.testing.assert_allclose(found, 0, atol=2e-4 * max(1, float(expected[seen].abs().max())))


@pytest.mark.parametrize("family", ["llama", "llama biased", "qwen2", "gpt2", "gpt_neox", "phi"])
def test_at_distance_0_it_is_the_plain_product_of_queries_and_keys(family):
    model, layer = model_of(family), 2
    block, every = model.blocks[layer], vocabulary_streams(model, layer, "effective")
    read = block.ln1(every).double()
    query = read[9] @ block.attn.W_Q[HEAD].double() + block.attn.b_Q[HEAD].double()
    keys = read @ block.attn.W_K[HEAD].double() + block.attn.b_K[HEAD].double()
    expected = keys @ query / model.cfg.d_head**0.5
    found = mw.qk_tokens(model, layer, HEAD, 9, stream="effective")
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-3, atol=1e-4)
    assert found.attrs["query"] == model.token_texts([9])[0]


@pytest.mark.parametrize(("family", "rotates"), [("llama", True), ("phi", True), ("gpt2", False), ("bloom", False)])
def test_distance_counts_where_positions_rotate(family, rotates):
    model = model_of(family)
    near, far = (mw.qk_tokens(model, 1, HEAD, 9, distance=distance).values for distance in (0, 5))
    assert np.allclose(near, far) != rotates
    assert key_scores(model, 1, HEAD, vocabulary_streams(model, 1, "embedding")[9]).rotated == rotates


def test_layers_of_one_family_may_differ_in_whether_they_rotate():
    model = model_of("smollm3")
    rotates = [not np.allclose(*(mw.qk_tokens(model, layer, 1, 9, distance=d) for d in (0, 5))) for layer in range(3)]
    assert rotates == [True, False, True]


def test_keys_without_a_matrix_of_their_own_are_an_error():
    with pytest.raises(ValueError, match="has no matrix of its own for k"):
        mw.qk_tokens(lively_model("deepseek_v3"), 0, 0, 5)


def test_a_distance_that_the_model_cannot_see_is_an_error():
    with pytest.raises(ValueError, match="The distance is 64; expected 0 to 63"):
        mw.qk_tokens(model_of("llama"), 0, 0, 5, distance=64)
