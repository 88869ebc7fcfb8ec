"""Circuits of a head against plain matrices, and against what the model itself does on a prompt."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.head_circuits import Scales, head_logits, head_values, writes_of
from mechwidgets.analysis.head_streams import check_head, token_streams, vocabulary_streams
from mechwidgets.model.hooks import site_name
from tests import families
from tests.lively import lively_model

# a head of the second group, so that shared keys and values are those of another index
HEAD = 3
PROMPT = torch.tensor([[5, 9, 3, 9, 30, 7, 12]])
GATED = ("afmoe", "qwen3_5_text")


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@functools.cache
def model_of(family):
    return lively_model(family)


def layer_of(model):
    """The last layer that has attention."""
    return max(layer for layer in range(model.cfg.n_layers) if site_name("z", layer) in model.hook_dict)


def families_but(*left_out):
    return [family for family in families.FAMILIES if family not in left_out]


def gain(norm, centred):
    """A norm without its scale, as a matrix [d_model, d_model]."""
    d_model = len(norm.w)
    found = torch.diag(norm.w.double())
    return (torch.eye(d_model) - 1 / d_model).double() @ found if centred else found


def plain_circuit(model, layer, head):
    """W_V W_O W_U with the gains of the norms behind, [d_model, d_vocab], as anybody would write it down."""
    block = model.blocks[layer]
    found = block.attn.W_V[head].double() @ block.attn.W_O[head].double()
    if hasattr(block, "ln1_post"):
        found = found @ gain(block.ln1_post, block.ln1_post.norm.centred)
    found = found * model.architecture.layers[layer].multiplier
    found = found @ gain(model.ln_final, model.ln_final.norm.centred)
    return found @ model.W_U.double() * model.logit_multiplier


# Streams


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_tokens_stream_is_what_the_model_begins_with(family):
    model = model_of(family)
    _, cache = model.run_with_cache(PROMPT, names_filter="embed")
    torch.testing.assert_close(token_streams(model, PROMPT[0], 2), cache["embed"][0])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "olmo2", "mixtral"])
def test_the_effective_embedding_is_the_first_mlps_without_the_first_attention(family):
    model = model_of(family)
    found = token_streams(model, PROMPT[0], 2, "effective")
    for row, token in enumerate(PROMPT[0]):
        streams = token_streams(model, token[None], 0)[None]
        silent = ("blocks.0.hook_attn_out", lambda written, hook: written * 0)
        instead = ("blocks.0.hook_resid_pre", lambda resid, hook, x=streams: x)
        with model.hooks([instead, silent]):
            _, cache = model.run_with_cache(token[None, None], names_filter=["mlp_out"])
        torch.testing.assert_close(found[row], streams[0, 0] + cache["mlp_out", 0][0, 0], atol=1e-5, rtol=1e-5)


def test_before_the_first_layer_there_is_only_the_embedding():
    model = model_of("llama")
    torch.testing.assert_close(
        token_streams(model, PROMPT[0], 0, "effective"), token_streams(model, PROMPT[0], 0), rtol=0, atol=0
    )


def test_the_effective_vocabulary_is_made_once_and_again_when_the_weights_change():
    model = lively_model("llama")
    first = vocabulary_streams(model, 1, "effective")
    assert vocabulary_streams(model, 2, "effective").data_ptr() == first.data_ptr()
    with torch.no_grad():
        model.hf_model.model.layers[0].mlp.down_proj.weight.mul_(2)
    assert not torch.equal(vocabulary_streams(model, 1, "effective"), first)


def test_what_is_asked_is_ended_between_two_lots_of_tokens():
    class EndedError(Exception):
        pass

    def check():
        raise EndedError

    with pytest.raises(EndedError):
        vocabulary_streams(lively_model("llama"), 1, "effective", check)


# OV


@pytest.mark.parametrize(
    "family", ["llama", "llama biased", "gpt2", "gpt_neox", "gemma2", "olmo2", "granite", "cohere"]
)
def test_what_a_head_writes_is_the_plain_product_of_its_matrices(family):
    model, layer = model_of(family), 1
    streams = token_streams(model, PROMPT[0], layer)
    norm = getattr(model.blocks[layer], "ln1", None)
    read = streams if norm is None else norm(streams) - norm.b
    expected = read.double() @ plain_circuit(model, layer, HEAD)
    found = mw.ov_tokens(model, layer, HEAD, PROMPT[0].tolist(), k=50)
    ups = np.array(model.token_texts(expected.argsort(descending=True).flatten().tolist())).reshape(7, 50)
    assert (found["up"].values[:, :3] == ups[:, :3]).all()
    np.testing.assert_allclose(found["up_value"], expected.sort(descending=True).values, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["down_value"], expected.sort().values, rtol=1e-3, atol=1e-5)
    own = expected[range(7), PROMPT[0]]
    np.testing.assert_allclose(found["own_value"], own, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found["own_rank"], (expected > own[:, None]).sum(1))


@pytest.mark.parametrize("family", families_but(*GATED))
def test_on_a_prompt_what_a_head_writes_is_what_its_sources_give_weighed_by_its_pattern(family):
    """Values are read from the streams that the prompt really has, whatever a family does to them."""
    model = model_of(family)
    layer = layer_of(model)
    _, cache = model.run_with_cache(PROMPT, names_filter=["resid_pre", "pattern", "z"])
    values, constant = head_values(model, layer, HEAD, cache["resid_pre", layer][0])
    mixed = cache["pattern", layer][0, HEAD] @ (values + constant)
    torch.testing.assert_close(mixed, cache["z", layer][0, :, HEAD], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gemma3_text", "cohere"])
def test_at_the_scales_of_a_run_values_are_logits(family):
    model, layer = model_of(family), 1
    _, cache = model.run_with_cache(PROMPT)
    scales = Scales(
        float(cache["ln1_post.scale", layer][0, -1]) if "blocks.1.ln1_post.hook_scale" in cache else 1.0,
        float(cache["ln_final.hook_scale"][0, -1]),
    )
    z = cache["z", layer][0, -1:, HEAD]
    found = head_logits(model, layer, z, HEAD, scales)[0]
    stack, labels = cache.stack_head_results(return_labels=True, pos_slice=-1)
    written = cache.apply_ln_to_stack(stack[labels.index(f"L1H{HEAD}")][None], pos_slice=-1)
    expected = written.reshape(1, -1) @ model.W_U * model.logit_multiplier
    torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", GATED)
def test_gated_heads_have_no_ov_circuit(family):
    model = model_of(family)
    with pytest.raises(ValueError, match="multiplies what its heads write with a gate"):
        mw.ov_tokens(model, layer_of(model), 1, [5])


@pytest.mark.parametrize(("family", "layer", "tied"), [("llama", 1, False), ("gpt2", 2, True), ("gemma2", 1, True)])
def test_the_copying_score_is_that_of_the_whole_circuit(family, layer, tied):
    model = model_of(family)
    for stream in ("embedding", "effective"):
        streams = vocabulary_streams(model, layer, stream).double()
        norm = model.blocks[layer].ln1
        whole = streams @ gain(norm, norm.norm.centred) @ plain_circuit(model, layer, HEAD)
        eigenvalues = torch.linalg.eigvals(whole)
        expected = float(eigenvalues.real.sum() / eigenvalues.abs().sum())
        assert mw.copying_score(model, layer, HEAD, stream=stream) == pytest.approx(expected, abs=1e-4)


def test_a_head_made_to_copy_scores_one_and_ranks_its_token_first():
    model = lively_model("llama", vocab_size=24)
    block = model.hf_model.model.layers[1]
    with torch.no_grad():
        model.hf_model.get_output_embeddings().weight.copy_(model.hf_model.get_input_embeddings().weight)
        block.input_layernorm.weight.fill_(1)
        model.hf_model.model.norm.weight.fill_(1)
        square = torch.linalg.qr(torch.randn(32, 8))[0]
        block.self_attn.v_proj.weight[:8] = square.T
        block.self_attn.o_proj.weight[:, :8] = square
    assert mw.copying_score(model, 1, 0) == pytest.approx(1, abs=1e-4)
    # and as it reads the shared values with another output matrix, the next head does not
    assert mw.copying_score(model, 1, 1) < 0.9
    found = mw.ov_tokens(model, 1, 0, list(range(24)))
    assert (found["own_value"] > 0).all()
    assert (found["own_rank"] == 0).mean() > 0.7


def test_writes_of_streams_name_no_more_tokens_than_there_are():
    model = model_of("llama")
    found = writes_of(model, 1, 0, token_streams(model, PROMPT[0], 1), PROMPT[0].tolist(), k=1000)
    assert found.up.shape == (7, model.cfg.d_vocab)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((7, 0, [5]), "Layer 7 is out of range"),
        ((0, 4, [5]), "Head 4 is out of range"),
        ((0, 0, [500]), r"Token 500 is outside the vocabulary \(0 to 49\)"),
        ((0, 0, [" Mary John"]), "Token ' Mary John' is 2 tokens"),
    ],
)
def test_what_there_is_not_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        mw.ov_tokens(model_of("llama"), *arguments)
    with pytest.raises(ValueError, match="There is no stream 'effectiv'"):
        mw.copying_score(model_of("llama"), 0, 0, stream="effectiv")


def test_layers_without_attention_say_so():
    with pytest.raises(ValueError, match="Layer 0 of this model has no pattern, so no attention heads to look into"):
        check_head(model_of("lfm2"), 0, 0)
