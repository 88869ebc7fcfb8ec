from __future__ import annotations

import gc
import sys
import threading

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    OPTConfig,
    OPTForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import mechwidgets as mw
from mechwidgets.model.run import current_run
from tests.models import FAMILIES, tiny_hf_model, tiny_model

TOKENS = torch.tensor([[5, 9, 3, 9, 30, 7, 12], [1, 4, 4, 8, 2, 20, 49]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_bit_identical_to_eager_transformers(family, dtype):
    hf_model = tiny_hf_model(family, dtype)
    expected = hf_model(TOKENS).logits
    model = mw.HookedModel(hf_model, None)
    logits, cache = model.run_with_cache(TOKENS)
    assert torch.equal(logits, expected)
    assert torch.equal(model(TOKENS), expected)
    assert torch.equal(hf_model(TOKENS).logits, expected), "the model itself changed"
    assert len(cache) == len(model.hook_names)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_to_the_residual_stream_adds_up(family):
    model = tiny_model(family)
    _, cache = model.run_with_cache(TOKENS)
    for layer in range(model.cfg.n_layers):
        attn_out, mlp_out = cache["attn_out", layer], cache["mlp_out", layer]
        assert attn_out.abs().max() > 1e-3
        assert mlp_out.abs().max() > 1e-3
        torch.testing.assert_close(
            cache["resid_pre", layer] + attn_out + mlp_out, cache["resid_post", layer], rtol=1e-5, atol=1e-5
        )
        if ("resid_mid", layer) in cache:
            torch.testing.assert_close(cache["resid_pre", layer] + attn_out, cache["resid_mid", layer], rtol=0, atol=0)
        if layer:
            assert torch.equal(cache["resid_pre", layer], cache["resid_post", layer - 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_pattern_equals_transformers_own_attentions(family):
    hf_model = tiny_hf_model(family)
    expected = hf_model(TOKENS, output_attentions=True).attentions
    model = mw.HookedModel(hf_model, None)
    _, cache = model.run_with_cache(TOKENS, names_filter=["pattern", "attn_scores"])
    for layer, attention in enumerate(expected):
        assert torch.equal(cache["pattern", layer], attention)
        torch.testing.assert_close(cache["attn_scores", layer].softmax(-1), attention)


@pytest.mark.parametrize("family", FAMILIES)
def test_z_through_the_output_projection_is_attn_out(family):
    model = tiny_model(family)
    _, cache = model.run_with_cache(TOKENS)
    last = model.cfg.n_layers - 1
    attention = next(module for module, layer in model.attention_layers.items() if layer == last)
    projection = next(getattr(attention, name) for name in ("o_proj", "c_proj", "dense") if hasattr(attention, name))
    written = projection(cache["z", last].flatten(2))
    if "Gemma2" in type(attention).__name__ or "Gemma3" in type(attention).__name__:
        written = model.hf_model.model.layers[last].post_attention_layernorm(written)
    torch.testing.assert_close(written, cache["attn_out", last])


@pytest.mark.parametrize("family", FAMILIES)
def test_unembedding_the_last_residual_stream_gives_the_logits(family):
    model = tiny_model(family)
    logits, cache = model.run_with_cache(TOKENS, names_filter="resid_post")
    assert torch.equal(model.unembed(cache["resid_post", -1]), logits)


@pytest.mark.parametrize("site", ["resid_pre", "attn_scores", "pattern", "z", "attn_out", "mlp_out", "resid_post"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_at_each_site_reaches_the_logits_and_no_later_run(family, site):
    model = tiny_model(family)
    before = model(TOKENS)

    def halve(tensor, hook):
        assert hook.name == f"blocks.1.{'attn.' if site in ('attn_scores', 'pattern', 'z') else ''}hook_{site}"
        assert hook.layer() == 1
        return tensor / 2

    edited = model.run_with_hooks(
        TOKENS, fwd_hooks=[(lambda name: name.startswith("blocks.1.") and name.endswith(f"hook_{site}"), halve)]
    )
    assert not torch.allclose(edited, before)
    assert torch.equal(model(TOKENS), before)


def test_editing_in_place_is_editing():
    model = tiny_model()

    def zero(tensor, hook):
        tensor[:, :, 2] = 0

    expected = model.run_with_hooks(
        TOKENS, fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z * (torch.arange(4) != 2)[:, None])]
    )
    assert torch.equal(model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.attn.hook_z", zero)]), expected)


def test_patching_everything_of_another_run_gives_that_run():
    model = tiny_model()
    other = TOKENS.flip(0)
    expected, cache = model.run_with_cache(other)
    patched = model.run_with_hooks(
        TOKENS, fwd_hooks=[("blocks.0.hook_resid_pre", lambda resid, hook: cache[hook.name])]
    )
    assert torch.equal(patched, expected)


def test_resid_mid_can_be_read_but_not_edited():
    model = tiny_model()
    seen = []
    model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_mid", lambda resid, hook: seen.append(resid))])
    assert len(seen) == 1
    with pytest.raises(ValueError, match=r"blocks\.1\.hook_resid_mid can be read but not edited.*attn_out"):
        model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_mid", lambda resid, hook: resid * 0)])


def test_a_hook_that_returns_another_shape_is_named():
    model = tiny_model()
    with pytest.raises(
        ValueError,
        match=r"A hook at blocks\.0\.attn\.hook_z returned shape \[2, 7\]; expected a tensor of shape \[2, 7, 4, 8\]",
    ):
        model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.0.attn.hook_z", lambda z, hook: z[:, :, 0, 0])])


@pytest.mark.parametrize("name", ["blocks.0.attn.hook_zz", "blocks.9.attn.hook_z", "patern"])
def test_an_unknown_name_suggests_the_nearest(name):
    with pytest.raises(ValueError, match=r"offers no activation .* Did you mean"):
        tiny_model().run_with_cache(TOKENS, names_filter=name)


def test_a_filtered_cache_holds_only_what_was_asked_for():
    model = tiny_model()
    _, cache = model.run_with_cache(TOKENS, names_filter=["blocks.1.attn.hook_z", "mlp_out"])
    assert list(cache) == [
        "blocks.0.hook_mlp_out",
        "blocks.1.attn.hook_z",
        "blocks.1.hook_mlp_out",
        "blocks.2.hook_mlp_out",
    ]


def test_hooks_hold_in_their_block_and_this_thread_only():
    model = tiny_model()
    before = model(TOKENS)
    elsewhere = []
    with model.hooks([("z", lambda z, hook: z * 0)]):
        inside = model(TOKENS)
        thread = threading.Thread(target=lambda: elsewhere.append(model(TOKENS)))
        thread.start()
        thread.join()
        with model.intervene(mw.Intervention("mlp_out", layer=0)):
            both = model(TOKENS)
    assert not torch.allclose(inside, before)
    assert not torch.allclose(both, inside)
    assert torch.equal(elsewhere[0], before)
    assert torch.equal(model(TOKENS), before)


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_a_hook_leaves_nothing_behind(raised):
    model = tiny_model()
    before = model(TOKENS)

    def fail(z, hook):
        z.zero_()
        raise raised

    with pytest.raises(raised), model.hooks([("z", lambda z, hook: z * 2)]):
        model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.attn.hook_z", fail)])
    assert torch.equal(model(TOKENS), before)
    assert model.lock.acquire(blocking=False)


def test_a_run_inside_a_hook_is_a_run_of_its_own():
    model = tiny_model()
    before = model(TOKENS)
    inner = []

    def run_again(z, hook):
        inner.extend([model(TOKENS), model.hf_model(TOKENS).logits])
        return z * 0

    with model.hooks([("blocks.1.attn.hook_z", run_again)]):
        outer = model(TOKENS)
    assert len(inner) == 2
    assert all(torch.equal(logits, before) for logits in inner)
    assert not torch.allclose(outer, before)


def test_threads_with_different_interventions_do_not_meet():
    model = tiny_model()
    changes = [mw.ablate(head=(layer, head)) for layer in range(3) for head in range(4)]
    expected = []
    for change in changes:
        with model.intervene(change):
            expected.append(model(TOKENS))
    wrong = []

    def work(number):
        for _ in range(10):
            with model.intervene(changes[number]):
                if not torch.equal(model(TOKENS), expected[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(changes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_click_gets_its_turn_beside_a_loop():
    model = tiny_model()
    answered, stop = [], threading.Event()

    def loop():
        while not stop.is_set():
            model(TOKENS)

    looping = threading.Thread(target=loop)
    looping.start()
    for _ in range(20):
        click = threading.Thread(target=lambda: answered.append(model(TOKENS)))
        click.start()
        click.join(20)
    stop.set()
    looping.join()
    assert len(answered) == 20
    assert model._waiting == set()


def test_an_interrupt_at_any_moment_leaves_nothing_behind():
    model = tiny_model()
    before = model(TOKENS)
    interrupted = 0
    for moment in range(0, 600, 7):
        calls = iter(range(moment, -1, -1))

        def interrupt(frame, event, arg, calls=calls):
            if event in ("call", "return") and "mechwidgets" in frame.f_code.co_filename and next(calls, 0) == 0:
                sys.settrace(None)
                frame.f_trace = None
                raise KeyboardInterrupt
            return interrupt

        sys.settrace(interrupt)
        try:
            model.run_with_hooks(TOKENS, fwd_hooks=[("z", lambda z, hook: z * 0)])
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        assert current_run() is None
        assert torch.equal(model(TOKENS), before)
    assert interrupted > 40
    other = threading.Thread(target=lambda: model(TOKENS), daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive(), "the lock was left behind"


def test_the_users_own_module_hooks_keep_working():
    hf_model = tiny_hf_model()
    calls = []
    hf_model.model.layers[1].register_forward_hook(lambda *_: calls.append("mine"))
    model = mw.HookedModel(hf_model, None)
    calls.clear()
    model(TOKENS)
    assert calls == ["mine"]
    model.unwrap()
    hf_model(TOKENS)
    assert calls == ["mine", "mine"]


def hooks_on(hf_model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in hf_model.modules())


def test_unwrap_gives_the_model_back_as_it_was():
    hf_model = tiny_hf_model()
    hf_model.set_attn_implementation("sdpa")
    model = mw.HookedModel(hf_model, None)
    assert hooks_on(hf_model) > 0
    assert model.unwrap() is hf_model
    assert hf_model.config._attn_implementation == "sdpa"
    assert hooks_on(hf_model) == 0


def test_wrapping_again_does_not_disturb_the_first_wrapper():
    hf_model = tiny_hf_model()
    first, second = mw.HookedModel(hf_model, None), mw.HookedModel(hf_model, None)
    hooks = hooks_on(hf_model)
    with first.intervene(mw.ablate(head=(0, 0))):
        assert torch.equal(second(TOKENS), hf_model(TOKENS).logits)
    second.unwrap()
    assert hooks_on(hf_model) == hooks / 2
    assert ("pattern", 0) in first.run_with_cache(TOKENS)[1]
    del first
    gc.collect()
    assert hooks_on(hf_model) == 0
    assert hf_model.config._attn_implementation == "eager"


def test_loss_is_the_mean_next_token_cross_entropy():
    hf_model = tiny_hf_model()
    expected = hf_model(TOKENS, labels=TOKENS).loss
    model = mw.HookedModel(hf_model, None)
    logits, loss = model(TOKENS, return_type="both")
    torch.testing.assert_close(loss, expected)
    assert torch.equal(logits, model(TOKENS))
    assert model(TOKENS, return_type=None) is None
    with pytest.raises(ValueError, match="at least two tokens"):
        model(TOKENS[:1, :1], return_type="loss")
    with pytest.raises(ValueError, match="Unknown return_type 'logit'"):
        model(TOKENS, return_type="logit")


def test_gradients_flow_through_an_edit():
    model = tiny_model()
    steer = torch.zeros(32, requires_grad=True)
    model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_pre", lambda resid, hook: resid + steer)])[
        0, -1, 3
    ].backward()
    assert steer.grad is not None
    assert steer.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "hf_model",
    [
        pytest.param(lambda: BertForMaskedLM(BertConfig(**_small())), id="masked"),
        pytest.param(lambda: BertModel(BertConfig(**_small())), id="encoder"),
        pytest.param(
            lambda: T5ForConditionalGeneration(
                T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=20)
            ),
            id="seq2seq",
        ),
    ],
)
def test_a_model_that_is_not_causal_is_refused(hf_model):
    with pytest.raises(TypeError, match=r"is not a causal language model.*LlamaForCausalLM"):
        mw.HookedModel(hf_model(), None)


def _small():
    return {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 20,
    }


def test_what_is_not_a_model_is_refused():
    with pytest.raises(TypeError, match=r"wraps a transformers model, got str\..*from_pretrained"):
        mw.HookedModel("smollm2-135m", None)


def test_an_unknown_family_is_refused_with_those_that_are_known():
    opt = OPTForCausalLM(
        OPTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            ffn_dim=16,
            vocab_size=20,
            word_embed_proj_dim=16,
        )
    )
    with pytest.raises(ValueError, match=r"does not know where the family 'opt'.*gpt2.*llama"):
        mw.HookedModel(opt, None)


def test_nan_in_the_weights_is_named_and_nothing_stays_on_the_model():
    hf_model = tiny_hf_model()
    with torch.no_grad():
        hf_model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(
        ValueError,
        match=r"These weights hold NaN or infinity: model\.layers\.1\.mlp\.down_proj\.weight\. Load the model again",
    ):
        mw.HookedModel(hf_model, None)
    assert hooks_on(hf_model) == 0
    assert hf_model.config._attn_implementation == "eager"


def test_a_layer_that_writes_something_else_is_found_when_wrapping():
    hf_model = tiny_hf_model()
    hf_model.model.layers[1].register_forward_hook(lambda module, args, output: output + 1)
    with pytest.raises(ValueError, match=r"does not satisfy resid_pre \+ attn_out \+ mlp_out = resid_post in layer 1"):
        mw.HookedModel(hf_model, None)


def test_repr_says_what_it_is():
    assert repr(tiny_model()) == "HookedModel('tiny llama': llama, 3 layers x 4 heads, d_model 32)"


@pytest.mark.smollm2
def test_smollm2_answers_as_it_should(smollm2):
    probs = smollm2("The capital of France is")[0, -1].softmax(-1)
    assert probs[smollm2.to_single_token(" Paris")].item() == pytest.approx(0.77, abs=0.01)
    probs = smollm2("When Mary and John went to the store, John gave a drink to")[0, -1].softmax(-1)
    assert probs[smollm2.to_single_token(" Mary")].item() == pytest.approx(0.92, abs=0.01)


@pytest.mark.smollm2
def test_smollm2_is_bit_identical_to_transformers(smollm2):
    tokens = smollm2.to_tokens("When Mary and John went to the store, John gave a drink to")
    ours, _ = smollm2.run_with_cache(tokens)
    hooked = smollm2.hf_model.config._attn_implementation
    smollm2.hf_model.set_attn_implementation("eager")
    try:
        expected = smollm2.hf_model(tokens).logits
    finally:
        smollm2.hf_model.set_attn_implementation(hooked)
    assert torch.equal(ours, expected)
