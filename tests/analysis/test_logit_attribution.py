from __future__ import annotations

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis import logit_attribution as module
from mechwidgets.analysis.logit_attribution import attribute
from tests.families import FAMILIES
from tests.models import tiny_hf_model, tiny_model

PROMPT = "When Mary gave John a drink"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_add_up_to_what_the_model_itself_says(family):
    model = tiny_model(family)
    logits = model(PROMPT)[0].detach().float()
    cap = getattr(model.hf_model.config, "final_logit_softcapping", None)
    for answer, wrong, position in ((30, None, None), (30, 9, 2)):
        found = attribute(model, model.to_tokens(PROMPT), answer, wrong, position)
        row = logits[-1 if position is None else position]
        expected = float(row[answer] - (0 if wrong is None else row[wrong]))
        assert found.logit == pytest.approx(expected, abs=1e-4)
        parts = np.nansum(found.layers) + sum(found.others.values())
        assert parts == pytest.approx(found.total, abs=1e-4)
        if cap is None:
            assert found.total == pytest.approx(expected, abs=1e-4)
        assert found.capped == (cap is not None)
        assert "rest" not in found.others
        heads = np.nansum(found.heads, axis=1) + found.head_bias
        np.testing.assert_allclose(heads, np.nan_to_num(found.layers[:, 0]), atol=1e-4)


def test_each_part_is_what_plain_hooks_on_transformers_modules_see():
    hf_model, tokens, seen = tiny_hf_model("llama"), torch.tensor([[5, 9, 3, 9, 7]]), {}

    def keep(name):
        def hook(module, args, output=None):
            found = args if output is None else output
            seen[name] = (found[0] if isinstance(found, tuple) else found).detach()

        return hook

    hf_model.model.embed_tokens.register_forward_hook(keep("embed"))
    for index, layer in enumerate(hf_model.model.layers):
        layer.self_attn.register_forward_hook(keep(f"{index}_attn_out"))
        layer.mlp.register_forward_hook(keep(f"{index}_mlp_out"))
        layer.self_attn.o_proj.register_forward_pre_hook(keep(f"{index}_z"))
        layer.mlp.down_proj.register_forward_pre_hook(keep(f"{index}_post"))
    hf_model.model.norm.register_forward_pre_hook(keep("final"))
    hf_model(tokens)
    position, answer, wrong = 3, 30, 9
    rms = (seen["final"][0, position].pow(2).mean() + hf_model.config.rms_norm_eps).sqrt()
    direction = hf_model.model.norm.weight * (hf_model.lm_head.weight[answer] - hf_model.lm_head.weight[wrong]) / rms

    found = attribute(mw.HookedModel(hf_model, None), tokens, answer, wrong, position)

    def read(name):
        return float((seen[name].reshape(5, -1)[position] @ direction).detach())

    assert found.others == {"embed": pytest.approx(read("embed"), abs=1e-5)}
    config = hf_model.config
    d_head = config.hidden_size // config.num_attention_heads
    for index, layer in enumerate(hf_model.model.layers):
        assert found.layers[index, 0] == pytest.approx(read(f"{index}_attn_out"), abs=1e-5)
        assert found.layers[index, 1] == pytest.approx(read(f"{index}_mlp_out"), abs=1e-5)
        z = seen[f"{index}_z"].reshape(5, config.num_attention_heads, d_head)[position]
        weight = layer.self_attn.o_proj.weight.T.reshape(config.num_attention_heads, d_head, -1)
        heads = torch.einsum("hd,hdm,m->h", z, weight, direction)
        np.testing.assert_allclose(found.heads[index], heads.detach(), atol=1e-5)
        post = seen[f"{index}_post"].reshape(5, -1)[position]
        values, activations = found.neurons(index)
        np.testing.assert_allclose(activations, post, rtol=1e-5)
        expected = post * (layer.mlp.down_proj.weight.T @ direction)
        np.testing.assert_allclose(values, expected.detach(), atol=1e-5)
        head = seen[f"{index}_z"].reshape(5, -1, d_head)[position, 1] @ weight[1]
        logits = (hf_model.lm_head.weight @ (hf_model.model.norm.weight * head / rms)).detach()
        writes = found.writes(found.written("head", index, head=1), k=4)
        assert writes.up == logits.topk(4).indices.tolist()
        np.testing.assert_allclose(writes.up_values, logits.topk(4).values, atol=1e-5)
        assert writes.down == (-logits).topk(4).indices.tolist()
        np.testing.assert_allclose(writes.down_values, logits[writes.down], atol=1e-5)
        assert writes.on_answer - writes.on_wrong == pytest.approx(float(found.heads[index, 1]), abs=1e-5)
        assert writes.on_wrong == pytest.approx(float(logits[wrong]), abs=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "cohere2"])
def test_neurons_add_up_to_their_mlp_and_a_component_writes_its_attribution(family, monkeypatch):
    monkeypatch.setattr(module, "NEURONS_TOGETHER", 7)
    model = tiny_model(family)
    found = attribute(model, model.to_tokens(PROMPT), 30)
    for layer in range(model.cfg.n_layers):
        values, _ = found.neurons(layer)
        assert len(values) == model.cfg.d_mlp
        rest = found.layers[layer, 1] - values.sum()
        bias = model.blocks[layer].mlp.b_out.detach().expand(1, 1, 1, -1)
        expected = 0.0 if family == "gemma2" else float(found.cache.logit_attrs(bias, 30, apply_ln=True))
        assert rest == pytest.approx(expected, abs=1e-4)
        places = [("attn", None, None, found.layers[layer, 0]), ("mlp", None, None, found.layers[layer, 1])]
        places += [("head", 2, None, found.heads[layer, 2]), ("neuron", None, 3, values[3])]
        for part, head, neuron, value in places:
            writes = found.writes(found.written(part, layer, head, neuron), k=model.cfg.d_vocab)
            given = dict(zip(writes.up, writes.up_values.tolist(), strict=True))
            assert given[30] == pytest.approx(value, abs=1e-4)


def test_without_an_answer_it_is_what_the_model_finds_most_probable():
    model = tiny_model()
    tokens = model.to_tokens(PROMPT)
    logits = model(PROMPT)[0].detach()
    assert attribute(model, tokens).answer == int(logits[-1].argmax())
    assert attribute(model, tokens, position=1).answer == int(logits[1].argmax())
    assert attribute(model, tokens, position=-2).position == 4


def test_interventions_hold_and_what_they_put_into_the_stream_is_the_rest():
    model = tiny_model()
    tokens = model.to_tokens(PROMPT)
    off = mw.ablate(head=(1, 2))
    found = attribute(model, tokens, 30, 9, interventions=[off])
    assert found.heads[1, 2] == 0
    with model.intervene(off):
        logits = model(PROMPT)[0, -1].detach()
    assert found.logit == pytest.approx(float(logits[30] - logits[9]), abs=1e-5)
    assert "rest" not in found.others
    added = mw.steer(torch.ones(model.cfg.d_model) * 3, layer=1)
    found = attribute(model, tokens, 30, 9, interventions=[added])
    assert abs(found.others["rest"]) > 1e-3
    assert np.nansum(found.layers) + sum(found.others.values()) == pytest.approx(found.total, abs=1e-5)
    with model.intervene(added):
        logits = model(PROMPT)[0, -1].detach()
    assert found.total == pytest.approx(float(logits[30] - logits[9]), abs=1e-4)


def test_a_16_bit_models_parts_add_up_too():
    model = mw.HookedModel(tiny_hf_model("llama", torch.bfloat16), None)
    found = attribute(model, torch.tensor([[5, 9, 3, 9, 7]]), 30, 9)
    assert np.nansum(found.layers) + sum(found.others.values()) == pytest.approx(found.total, abs=1e-4)
    assert found.total == pytest.approx(found.logit, abs=0.1)


def test_the_dataset_is_labelled():
    model = tiny_model()
    data = mw.logit_attribution(model, PROMPT, " John", " Mary")
    assert data["component"].values.tolist() == [
        "embed",
        *(f"{n}_{site}" for n in range(3) for site in ("attn_out", "mlp_out")),
    ]
    logits = model(PROMPT)[0, -1].detach()
    expected = float(logits[model.to_single_token(" John")] - logits[model.to_single_token(" Mary")])
    assert float(data["component_value"].sum()) == pytest.approx(expected, abs=1e-5)
    assert data.attrs["logit"] == pytest.approx(expected, abs=1e-5)
    assert (data.attrs["answer"], data.attrs["wrong"], data.attrs["position"]) == (" John", " Mary", 5)
    assert data["head_value"].dims == ("layer", "head")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": ["Mary", "John"]}, "attributed for one prompt, got 2"),
        ({"answer": " John Mary"}, "Answer ' John Mary' is 2 tokens"),
        ({"answer": " John", "wrong": " John"}, r"are the same token \(' John'\)"),
        ({"position": 6}, "Position 6 is out of range"),
    ],
)
def test_what_it_cannot_attribute_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        mw.logit_attribution(tiny_model(), **{"prompt": PROMPT, **asked})


def test_components_that_there_are_not_are_refused():
    model = tiny_model("mixtral")
    found = attribute(model, model.to_tokens(PROMPT), 30)
    for place, message in (
        (("neuron", 0, None, 1), "The MLP of layer 0 has no neurons to tell apart"),
        (("pos_embed",), "no component 'pos_embed'"),
        (("bias",), "no component 'bias'"),
        (("attn", 3), "Layer 3 is out of range"),
        (("head", 0, 9), "Head 9 is out of range"),
    ):
        with pytest.raises(ValueError, match=message):
            found.written(*place)
