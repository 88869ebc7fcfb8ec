from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis import logit_lens as lens_module
from mechwidgets.analysis.lens_states import streams_of
from tests.models import FAMILIES, tiny_hf_model, tiny_model

PROMPT = "When Mary gave John a drink"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_row_is_the_models_output(family):
    model = tiny_model(family)
    lens = mw.logit_lens(model, PROMPT, k=4)
    probs = model(PROMPT)[0].float().softmax(-1)
    top = probs.topk(4)
    np.testing.assert_array_equal(lens["top_token"][-1], top.indices)
    np.testing.assert_allclose(lens["probability"][-1], top.values.detach(), rtol=1e-5)
    entropy = torch.distributions.Categorical(probs).entropy()
    np.testing.assert_allclose(lens["entropy"][-1], entropy.detach(), rtol=1e-4)
    assert (lens["rank"][-1] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_rows_read_transformers_own_hidden_states(family):
    hf_model = tiny_hf_model(family)
    tokens = torch.tensor([[5, 9, 3, 9]])
    hidden = hf_model(tokens, output_hidden_states=True).hidden_states
    model = mw.HookedModel(hf_model, None)
    lens = mw.logit_lens(model, tokens, k=3)
    # transformers' last hidden state has been through the final norm already
    for row, state in enumerate(hidden[:-1]):
        logits = model.logits_of(state)[0]
        np.testing.assert_array_equal(lens["top_token"][row], logits.topk(3).indices)
        target = model(tokens)[0].argmax(-1)
        expected = (logits > logits.gather(1, target[:, None])).sum(-1)
        np.testing.assert_array_equal(lens["rank"][row], expected)


STREAM_HOOKS = {
    "resid_pre": lambda layer: layer.register_forward_pre_hook,
    "attn_out": lambda layer: layer.self_attn.register_forward_hook,
    "mlp_out": lambda layer: layer.mlp.register_forward_hook,
    "resid_mid": lambda layer: layer.post_attention_layernorm.register_forward_pre_hook,
}


@pytest.mark.parametrize("stream", STREAM_HOOKS)
def test_every_stream_is_what_plain_hooks_on_transformers_modules_see(stream):
    hf_model, tokens, seen = tiny_hf_model("llama"), torch.tensor([[5, 9, 3, 9]]), []

    def see(module, args, output=None):
        found = args if output is None else output
        seen.append((found[0] if isinstance(found, tuple) else found).detach().reshape(4, -1))

    for layer in hf_model.model.layers:
        STREAM_HOOKS[stream](layer)(see)
    expected = hf_model(tokens).logits[0].detach()
    rows = [hf_model.lm_head(hf_model.model.norm(state)).detach() for state in seen]
    lens = mw.logit_lens(mw.HookedModel(hf_model, None), tokens, k=3, stream=stream)
    assert lens["row"].values.tolist() == ["0", "1", "2", "output"]
    final = expected.log_softmax(-1)
    for row, logits in enumerate([*rows, expected]):
        log_probs = logits.log_softmax(-1)
        np.testing.assert_array_equal(lens["top_token"][row], log_probs.topk(3).indices)
        np.testing.assert_allclose(lens["probability"][row], log_probs.topk(3).values.exp(), rtol=1e-4)
        kl = torch.nn.functional.kl_div(log_probs, final, log_target=True, reduction="none").sum(-1)
        np.testing.assert_allclose(lens["kl"][row], kl, rtol=1e-3, atol=1e-5)
        target = log_probs.gather(1, final.argmax(-1)[:, None])[:, 0]
        np.testing.assert_allclose(lens["target_probability"][row], target.exp(), rtol=1e-4)


def test_a_stream_that_the_family_has_not_is_refused():
    assert "resid_mid" not in streams_of(tiny_model("gpt_neox"))
    with pytest.raises(ValueError, match=r"The layers of this model have no 'resid_mid'\. Choose one of 'resid_post'"):
        mw.logit_lens(tiny_model("gpt_neox"), PROMPT, stream="resid_mid")


@pytest.mark.parametrize("target", [" John", 9])
def test_a_targets_rank_and_probability_are_read_everywhere(target):
    model = tiny_model()
    lens = mw.logit_lens(model, PROMPT, target=target, stream="resid_mid")
    token = model.to_single_token(target) if isinstance(target, str) else target
    _, cache = model.run_with_cache(PROMPT)
    for row in range(3):
        logits = model.logits_of(cache["resid_mid", row])[0].detach()
        np.testing.assert_allclose(lens["target_probability"][row], logits.softmax(-1)[:, token], rtol=1e-4)
        np.testing.assert_array_equal(lens["rank"][row], (logits > logits[:, [token]]).sum(-1))
    assert lens["target"].values.tolist() == model.token_texts([token]) * 6


def test_two_prompts_are_compared():
    model, other = tiny_model(), "When Ann gave John a drink"
    lens = mw.logit_lens(model, PROMPT, compare=other, k=2)
    alone = mw.logit_lens(model, PROMPT, k=2)
    second = mw.logit_lens(model, other, k=2)
    for name in alone:
        np.testing.assert_array_equal(lens[name][0], alone[name])
    for name in ("top_token", "probability", "entropy", "kl"):
        np.testing.assert_array_equal(lens[name][1], second[name])
    # the target is that of the first prompt
    assert lens["rank"].values[0, -1].tolist() == [0] * 6
    states = [model.run_with_cache(text)[1]["resid_post", 1][0] for text in (PROMPT, other)]
    ours, theirs = (model.logits_of(state).detach().log_softmax(-1) for state in states)
    kl = torch.nn.functional.kl_div(theirs, ours, log_target=True, reduction="none").sum(-1)
    np.testing.assert_allclose(lens["divergence"][2], kl, rtol=1e-3, atol=1e-5)
    assert float(lens["divergence"][:, 0].max()) == 0
    with pytest.raises(ValueError, match=r"have 6 and 2 tokens.*They part at position 2: ' gave', .* and nothing"):
        mw.logit_lens(model, PROMPT, compare="When Mary")


def test_a_tuned_lens_translates_the_stream_before_each_layer():
    model = tiny_model()
    torch.manual_seed(1)
    linears = torch.nn.ModuleList(torch.nn.Linear(model.cfg.d_model, model.cfg.d_model) for _ in range(3))
    hidden = model.hf_model(model.to_tokens(PROMPT), output_hidden_states=True).hidden_states
    given = [
        linears,
        [(linear.weight, linear.bias) for linear in linears],
        dict(enumerate(linears)),
        lambda resid, layer: linears[layer](resid),
        Mock(spec=["transform_hidden"], transform_hidden=lambda resid, layer: linears[layer](resid)),
    ]
    for tuned_lens in given:
        for stream in ("resid_post", "resid_pre"):
            lens = mw.logit_lens(model, PROMPT, tuned_lens=tuned_lens, stream=stream, k=3)
            for row in range(3):
                logits = model.logits_of(linears[row](hidden[row][0]))
                np.testing.assert_array_equal(lens["top_token"][row], logits.topk(3).indices)
            np.testing.assert_array_equal(lens["top_token"][-1], model(PROMPT)[0].topk(3).indices)


@pytest.mark.parametrize(
    ("tuned_lens", "error", "message"),
    [
        (3, TypeError, "tuned_lens is a function"),
        ([torch.relu] * 2, ValueError, "has 2 translators; expected 3"),
        ([3] * 3, TypeError, "The translator of layer 0 is a function of the stream"),
        ([(torch.eye(4), None)] * 3, ValueError, r"layer 0 has weight \[4, 4\] and bias None; expected"),
        (lambda resid, layer: resid[:1], ValueError, r"gave \[1, 32\] for layer 0; expected a stream \[6, 32\]"),
    ],
)
def test_a_tuned_lens_that_does_not_fit_is_refused(tuned_lens, error, message):
    with pytest.raises(error, match=message):
        mw.logit_lens(tiny_model(), PROMPT, tuned_lens=tuned_lens)


def test_a_tuned_lens_of_what_a_component_writes_is_refused():
    with pytest.raises(ValueError, match=r"cannot read 'mlp_out'\. Choose one of 'resid_post', 'resid_pre'"):
        mw.logit_lens(tiny_model(), PROMPT, tuned_lens=lambda resid, layer: resid, stream="mlp_out")


def test_states_without_finite_logits_are_marked():
    model = tiny_model()
    lens = mw.logit_lens(model, PROMPT, tuned_lens=lambda resid, layer: resid * (torch.nan if layer == 1 else 1))
    assert np.isnan(lens["entropy"][1]).all()
    assert np.isnan(lens["kl"][1]).all()
    assert np.isnan(lens["probability"][1]).all()
    assert (lens["rank"][1] == -1).all()
    for row in (0, 2, 3):
        assert np.isfinite(lens["entropy"][row]).all()


def test_it_is_labelled():
    model = tiny_model()
    lens = mw.logit_lens(model, PROMPT, k=2)
    assert lens["row"].values.tolist() == ["embed", "0", "1", "2"]
    assert lens["token"].values.tolist() == model.to_str_tokens(PROMPT)
    assert lens["top_text"].shape == lens["top_token"].shape == (4, 6, 2)
    assert lens["top_text"].values[0, 0].tolist() == model.token_texts(lens["top_token"].values[0, 0])
    assert (lens["entropy"] <= lens.attrs["max_entropy"] + 1e-5).all()


@pytest.mark.parametrize(
    ("prompt", "k", "message"),
    [
        ("", 5, "The prompt is empty"),
        (["Mary", "John"], 5, "reads one prompt, got 2"),
        ("Mary", 0, "k is 0; it must be 1 to 50"),
        ("Mary", 51, "k is 51"),
    ],
)
def test_what_it_cannot_read_is_refused(prompt, k, message):
    with pytest.raises(ValueError, match=message):
        mw.logit_lens(tiny_model(), prompt, k)


def test_weights_that_become_nan_are_named():
    model = tiny_model()
    with torch.no_grad():
        model.hf_model.model.norm.weight[0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in the logits.*model\.norm\.weight"):
        mw.logit_lens(model, PROMPT)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_a_long_prompt_is_unembedded_in_parts_with_the_same_result(together, monkeypatch):
    model = tiny_model()
    whole = mw.logit_lens(model, PROMPT, k=4)
    monkeypatch.setattr(lens_module, "LOGIT_BYTES", together * 50 * 4)
    unembed, sizes = model.logits_of, []

    def counted(resid):
        sizes.append(len(resid))
        return unembed(resid)

    monkeypatch.setattr(model, "logits_of", counted)
    parts = mw.logit_lens(model, PROMPT, k=4)
    assert max(sizes) == together
    for name in ("top_token", "rank", "top_text"):
        np.testing.assert_array_equal(parts[name], whole[name])
    for name in ("probability", "entropy"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("d_vocab", "k"), [(127, 3), (128, 1), (5 * 128, 5), (5 * 128 + 1, 4), (1000, 7), (1000, 1)])
def test_the_top_of_blocks_is_the_top_of_all(d_vocab, k):
    torch.manual_seed(d_vocab)
    logits = torch.randn(6, d_vocab)
    logits[0, -1] = 100
    logits[1, 3] = -torch.inf
    expected = logits.topk(k)
    ids, values = lens_module.top_k(logits, k)
    assert torch.equal(ids, expected.indices)
    assert torch.equal(values, expected.values)


def test_distributions_are_read_as_torch_reads_them_also_where_tokens_are_impossible():
    torch.manual_seed(0)
    logits, others = torch.randn(2, 4, 300) * 8
    logits[1, 7] = others[1, 7] = others[2, 9] = -torch.inf
    logits[3, 5] = torch.nan
    ours, theirs = (lens_module.Distribution(each, 3) for each in (logits, others))
    good = slice(0, 3)
    expected = torch.distributions.Categorical(logits=logits[good].double()).entropy()
    entropy = ours.log_total - ours.mean_logit
    # torch's own entropy has a finite number for minus infinity
    torch.testing.assert_close(entropy[good].double(), expected, rtol=1e-4, atol=1e-5)
    kl = torch.nn.functional.kl_div(
        others[:2].double().log_softmax(-1), logits[:2].double().log_softmax(-1), log_target=True, reduction="none"
    ).nan_to_num(0)
    torch.testing.assert_close(ours.divergence_of(theirs)[:2].double(), kl.sum(-1), rtol=1e-4, atol=1e-4)
    assert ours.divergence_of(theirs)[2] == torch.inf
    assert (ours.divergence_of(ours)[good] == 0).all()
    for bad in (ours.log_total, ours.mean_logit, ours.divergence_of(theirs), theirs.divergence_of(ours)):
        assert bad[3].isnan()


@pytest.mark.smollm2
def test_paris_rises_through_the_layers_of_smollm2(smollm2):
    lens = mw.logit_lens(smollm2, "The capital of France is")
    assert lens["top_text"].values[-1, -1, 0] == " Paris"
    assert lens["probability"].values[-1, -1, 0] == pytest.approx(0.77, abs=0.01)
    assert lens["rank"].values[0, -1] > 100
