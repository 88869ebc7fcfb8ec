"""The replay engine gives what whole forward passes give, and says where it cannot."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis import descent, passes, replay
from mechwidgets.analysis.passes import Row, plan_passes, plan_varlen
from mechwidgets.analysis.replay import Replay
from mechwidgets.analysis.rows import FunctionEdit
from mechwidgets.model.layer_call import LayerCall
from tests import families
from tests.models import FAMILIES, tiny_hf_model, tiny_model, tiny_tokenizer

BASE = torch.tensor([[5, 9, 3, 9, 30, 7, 12, 11]])
SOURCE = torch.tensor([[5, 9, 3, 10, 30, 7, 12, 11]])
BATCH = torch.tensor([[5, 9, 3, 9, 30, 7], [8, 8, 3, 9, 11, 7], [2, 9, 3, 40, 30, 12]])
SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "rot_q", "rot_k")
INSIDE = ("pattern", "attn_scores", "result", "pre", "post", "ln1.scale", "ln2.normalized", "q_input", "mlp_in")
# The keys and values of these are not those of a cache alone, or are not asked of it row by row.
NOT_REPLAYED = {"bloom", "jamba", "lfm2", "qwen3_5_text"}
# Their attention is their own code, or keeps something else than keys and values.
IN_BATCHES = {
    "deepseek_v3",
    "codegen",
    "falcon",
    "falcon new",
    "falcon rw",
    "gpt_neo",
    "gptj",
    "mpt",
    "xglm",
}


def last(logits: torch.Tensor) -> torch.Tensor:
    """Some of the logits at the last position, [rows, batch * 5]."""
    return logits[:, :, -1, :5].flatten(1).float()


def engine_for(model, tokens, changes, **options):
    return Replay(model, tokens, {edit.name for change in changes for edit in change}, **options)


def replayed(model, tokens, changes, read=last, **options):
    """Values of all changes, by the engine; each index must come once."""
    engine = engine_for(model, tokens, changes, **options)
    values, told = {}, []
    for indices, some in engine.run(changes, read):
        told += indices
        values |= dict(zip(indices, some, strict=True))
    assert sorted(told) == list(range(len(changes)))
    return engine, torch.stack([values[i] for i in range(len(changes))])


def one_by_one(model, tokens, changes, read=last, **options):
    """The same by one call of the model a change."""
    rows = []
    for change in changes:
        with torch.no_grad(), model.intervene(*change):
            rows.append(read(model(tokens, **options)[None]))
    return torch.cat(rows)


def wrong(descend):
    """Passes that end in something else."""

    def descended(*given):
        ends = descend(*given)
        return dataclasses.replace(ends, resid=ends.resid.roll(1, -1))

    return descended


def patches(model, source, sites, **where):
    """Every layer and position of some sites, as far as the model has them."""
    _, cache = model.run_with_cache(source, names_filter=model.hook_names)
    return [
        (mw.patch_from(cache, site, layer, position=position, **where),)
        for site, layer, position in itertools.product(sites, range(model.cfg.n_layers), range(source.shape[1]))
        if mw.Intervention(site, layer).name in model.hook_dict
    ]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_site_of_every_family_has_the_numbers_of_whole_passes(family):
    model = tiny_model(family)
    base, source = BASE % model.cfg.d_vocab, SOURCE % model.cfg.d_vocab
    changes = patches(model, source, (*SITES, *INSIDE))
    engine, values = replayed(model, base, changes, verify=3)
    assert (engine.refusal is not None) is (family in NOT_REPLAYED)
    assert engine._way.varlen is (family not in NOT_REPLAYED | IN_BATCHES)
    _, expected = replayed(model, base, changes, plain=True)
    torch.testing.assert_close(values, expected, atol=2e-4, rtol=1e-4)
    assert (values[:, 0] != values[0, 0]).any()


@pytest.mark.parametrize("family", families.FAMILIES)
def test_another_prompt_that_begins_alike_has_the_activations_of_a_whole_pass(family):
    model = tiny_model(family)
    base, source = BASE % model.cfg.d_vocab, SOURCE % model.cfg.d_vocab
    names = [name for name in model.hook_names if replay._can_replay(name)]
    logits, cache = Replay(model, base, names, positions=(0, 4, -1)).other(source, names)
    expected_logits, expected = model.run_with_cache(source, names_filter=names)
    assert set(cache) == set(expected)
    torch.testing.assert_close(logits, expected_logits[:, [0, 4, 7]], atol=1e-4, rtol=1e-4)
    for name in names:
        torch.testing.assert_close(cache[name], expected[name], atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_of_another_prompt_only_what_comes_behind_the_common_beginning_is_computed(monkeypatch):
    model, fed = tiny_model(), []
    engine = Replay(model, BASE, ["blocks.0.hook_resid_pre"])
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda tokens, *a, **k: fed.append(tokens.tolist()) or forward(tokens, *a, **k)
    )
    engine.other(SOURCE, ["blocks.0.hook_resid_pre"])
    assert fed == [SOURCE[:, 3:].tolist()]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plain_way_has_the_numbers_of_calls_of_the_model(family):
    model = tiny_model(family)
    changes = patches(model, SOURCE, ("resid_pre", "z", "v"))[::3]
    engine, values = replayed(model, BASE, changes, plain=True)
    assert engine.refusal == "plain=True"
    torch.testing.assert_close(values, one_by_one(model, BASE, changes), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("op", [("zero", None), ("mean", None), ("add", 2.0), ("scale", -1.0), ("freeze", None)])
@pytest.mark.parametrize("site", ["resid_pre", "z", "mlp_out"])
def test_every_operation(site, op):
    model = tiny_model()
    places = itertools.product(range(3), (None, 0, 4, (1, 7), -2))
    changes = [(mw.Intervention(site, layer, position=at, op=op[0], value=op[1]),) for layer, at in places]
    engine, values = replayed(model, BASE, changes)
    assert engine.refusal is None
    torch.testing.assert_close(values, one_by_one(model, BASE, changes), atol=1e-4, rtol=1e-4)


def test_several_edits_of_one_run_see_one_another():
    model = tiny_model("gemma2")
    patch = [change[0] for change in patches(model, SOURCE, ("resid_pre", "attn_out"))]
    changes = [
        (mw.ablate(head=(1, 0)), mw.ablate(head=(2, 1))),
        (mw.ablate(head=(2, 1)), mw.ablate(head=(0, 1)), patch[10]),
        (mw.Intervention("mlp_out", 0, position=2, op="scale", value=3.0), mw.Intervention("z", 2, op="mean")),
        (
            patch[3],
            mw.Intervention("attn_out", 1, position=5, op="freeze"),
            mw.Intervention("attn_out", 2, op="freeze"),
        ),
        (),
    ]
    engine, values = replayed(model, BASE, changes, verify=4)
    assert engine.refusal is None
    torch.testing.assert_close(values, one_by_one(model, BASE, changes), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, "mistral", "gpt_oss", "xglm"])
@pytest.mark.parametrize("side", ["left", "right", None])
def test_batches_and_padding(family, side):
    model = tiny_model(family)
    real = torch.ones_like(BATCH, dtype=torch.bool)
    if side:
        real[1, slice(0, 2) if side == "left" else slice(4, 6)] = False
    sites = ("resid_pre", "z", "attn_out", "v")
    changes = [
        (mw.Intervention(site, layer, position=at, op="scale", value=0.5),)
        for site, layer, at in itertools.product(sites, range(model.cfg.n_layers), (None, 0, 3, 5))
    ]
    engine, values = replayed(model, BATCH, changes, real=real)
    assert engine.refusal is None
    expected = one_by_one(model, BATCH, changes, attention_mask=real)
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def test_a_prompt_that_begins_like_padding_is_no_padding():
    """One row is never padded; the same row several times over looks like it."""
    model = tiny_model("gpt2")
    pad = model.to_tokens("<unk> <unk>")[0, 0].item()
    base, source = torch.tensor([[pad, pad, 5, 6, 7]]), torch.tensor([[pad, pad, 5, 6, 8]])
    changes = patches(model, source, ("resid_pre",))
    clean = last(model(source)[None])
    for plain in (False, True):
        _, values = replayed(model, base, changes, plain=plain)
        torch.testing.assert_close(values[4], clean[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", [None, (0, 3, -1), (-1,), (2,)])
def test_any_positions_can_be_read(positions):
    model = tiny_model()
    changes = patches(model, SOURCE, ("resid_pre", "z"))
    taken = slice(None) if positions is None else list(positions)

    def read(logits):
        return logits[:, 0, :, :3].flatten(1)

    _, values = replayed(model, BASE, changes, read, positions=positions)
    expected = one_by_one(model, BASE, changes, lambda logits: read(logits[:, :, taken]))
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere", "granite", "codegen"])
def test_only_some_tokens_can_be_read(family):
    model = tiny_model(family)
    changes = patches(model, SOURCE, ("resid_pre", "z"))
    _, values = replayed(model, BASE, changes, lambda logits: logits[:, 0, -1], answers=(7, 3))
    expected = one_by_one(model, BASE, changes, lambda logits: logits[:, 0, -1, [7, 3]])
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model = mw.HookedModel(tiny_hf_model(dtype=dtype), tiny_tokenizer())
    changes = patches(model, SOURCE, ("resid_pre", "z"))
    engine, values = replayed(model, BASE, changes)
    assert engine.refusal is None
    expected = one_by_one(model, BASE, changes)
    torch.testing.assert_close(values, expected, atol=0.1, rtol=0.05)


def test_a_function_of_the_whole_activation():
    model = tiny_model()

    def roll(activation):
        activation[:, 3:] = activation[:, 3:].roll(1, 1)
        return activation

    name = "blocks.1.attn.hook_z"
    _, values = replayed(model, BASE, [(FunctionEdit(name, roll),)])
    with torch.no_grad():
        expected = model.run_with_hooks(BASE, fwd_hooks=[(name, lambda z, hook: roll(z.clone()))])
    torch.testing.assert_close(values, last(expected[None]), atol=1e-5, rtol=1e-5)


def test_hooks_that_hold_in_the_context_are_part_of_every_row():
    model = tiny_model()
    changes = patches(model, SOURCE, ("resid_pre",))
    with model.intervene(mw.ablate(head=(1, 1))):
        engine, values = replayed(model, BASE, changes)
        expected = one_by_one(model, BASE, changes)
    assert "hooks hold" in engine.refusal
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def test_a_model_in_training_mode_is_not_replayed():
    model = tiny_model()
    model.hf_model.train()
    with pytest.warns(UserWarning, match="training mode"):
        engine, _ = replayed(model, BASE, patches(model, SOURCE, ("resid_pre",)))
    assert "training mode" in engine.refusal


@pytest.mark.parametrize("varlen", [True, False])
def test_what_cannot_be_reached_is_not_computed(varlen, monkeypatch):
    model = tiny_model()
    fed, call = [], LayerCall.__call__
    layers = {parts.layer: index for index, parts in enumerate(model.architecture.layers)}

    def spy(self, layer, resid):
        fed.append((layers[layer], *resid.shape[:2]))
        return call(self, layer, resid)

    monkeypatch.setattr(LayerCall, "__call__", spy)
    changes = patches(model, SOURCE, ("resid_pre",))
    engine = engine_for(model, BASE, changes, verify=0)
    engine._way = dataclasses.replace(engine._way, varlen=varlen)
    fed.clear()
    monkeypatch.setattr(passes, "TOKENS_A_LAYER", 0)
    done = [len(indices) for indices, _ in engine.run(changes, last)]
    # In the first layer only the position that differs does; in the others those behind it too.
    assert done[0] == 3 * 3 + 4
    if varlen:
        behind = 5 + 4 + 3 + 2 + 1
        assert fed == [(0, 1, 5), (1, 1, 5 + behind), (2, 1, 5 + 2 * behind)]
        return
    at_3, at_7 = {(0, 1, 5), (1, 2, 5), (2, 3, 5)}, {(1, 1, 1), (2, 2, 1)}
    assert at_3 | at_7 <= set(fed)
    assert all(rows <= 3 and n_pos <= 5 for _, rows, n_pos in fed)
    assert len(fed) == 3 + 4 * 2


def test_passes_of_rows_one_behind_the_other_are_as_full_as_they_may_be():
    model = tiny_model()
    room = passes.Room(model, 1, 64, 10**9)
    rows = [Row(index, index % 30, index // 30) for index in range(30 * 64)]
    plans = plan_varlen(rows, room)
    assert sorted(row.index for plan in plans for row in plan.rows) == list(range(30 * 64))
    tokens = [sum(64 - row.position for row in plan.rows) for plan in plans]
    assert max(tokens) <= passes.TOKENS_A_PASS["cpu"]
    assert all(before + after > passes.TOKENS_A_PASS["cpu"] for before, after in itertools.pairwise(tokens))
    layers = [row.layer for plan in plans for row in plan.rows]
    assert layers == sorted(layers)
    small = passes.Room(model, 1, 64, passes.bytes_of_row(model.cfg, 1, 64))
    assert all(len(plan.rows) == 1 or plan.start > 0 for plan in plan_varlen(rows, small))


def test_a_function_may_run_the_model_while_rows_stand_one_behind_the_other():
    model, name = tiny_model(), "blocks.1.hook_resid_pre"
    expected = model(BASE)

    def changed(resid):
        torch.testing.assert_close(model(BASE), expected)
        return resid * 1.5

    engine, values = replayed(model, BASE, [(FunctionEdit(name, changed),)])
    assert engine._way.varlen
    with torch.no_grad():
        logits = model.run_with_hooks(BASE, fwd_hooks=[(name, lambda resid, hook: resid * 1.5)])
    torch.testing.assert_close(values, last(logits[None]), atol=1e-4, rtol=1e-4)


def test_passes_are_cut_by_what_they_cost_and_by_what_fits():
    rows = [Row(index, index % 30, index // 30) for index in range(30 * 64)]
    plans = plan_passes(rows, 30, 64, 1, lambda start: max(1, 2048 // (64 - start)))
    assert sorted(row.index for plan in plans for row in plan.rows) == list(range(30 * 64))
    for plan in plans:
        assert len(plan.rows) * (64 - plan.start) <= 2048
        assert plan.start <= min(row.position for row in plan.rows)
        assert [row.layer for row in plan.rows] == sorted(row.layer for row in plan.rows)
    computed = sum((30 - row.layer) * (64 - plan.start) for plan in plans for row in plan.rows)
    needed = sum((30 - row.layer) * (64 - row.position) for row in rows)
    assert needed <= computed < 1.05 * needed
    assert len(plan_passes(rows[:30], 30, 64, 1, lambda start: 1)) == 30


def test_memory_that_is_too_small_is_refused_before_anything_runs():
    model = tiny_model()
    with pytest.raises(ValueError, match=r"A changed run of 8 tokens needs about .* max_memory allows"):
        Replay(model, BASE, (), max_memory=1000)
    changes = patches(model, SOURCE, ("resid_pre",))
    least = passes.bytes_of_row(model.cfg, 1, 8)
    _, values = replayed(model, BASE, changes, max_memory=least)
    _, expected = replayed(model, BASE, changes)
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def test_a_wrong_replay_is_an_error_and_no_number(monkeypatch):
    model = tiny_model()
    changes = patches(model, SOURCE, ("resid_pre",))
    engine = engine_for(model, BASE, changes)
    monkeypatch.setattr(replay, "descend", wrong(replay.descend))
    with pytest.raises(
        RuntimeError, match=r"from those of a run of the whole model, further than rounding explains.*plain=True"
    ):
        list(engine.run(changes, last))
    assert list(engine_for(model, BASE, changes, verify=0).run(changes, last))


def test_a_family_whose_layers_cannot_be_run_by_themselves_says_so_once(monkeypatch):
    model = tiny_model("qwen3_5_text" if "qwen3_5_text" in families.FAMILIES else "bloom")
    assert "cannot be run by themselves" in Replay(model, BASE, ()).refusal
    monkeypatch.setattr(descent, "_try", lambda *_: pytest.fail("tried again"))
    assert Replay(model, BASE, ()).refusal


def test_running_out_of_memory_is_no_reason_to_go_the_plain_way_ever_after(monkeypatch):
    model = tiny_model()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(descent, "descend", full)
        with pytest.raises(torch.OutOfMemoryError):
            Replay(model, BASE, ())
    assert Replay(model, BASE, ()).refusal is None


def test_one_token_says_nothing_of_longer_prompts(monkeypatch):
    model, tried = tiny_model(), []
    real_try = descent._try
    monkeypatch.setattr(descent, "_try", lambda *given: tried.append(given[1].shape[1]) or real_try(*given))
    for tokens in (BASE[:, :1], BASE, BASE):
        assert Replay(model, tokens, ()).refusal is None
    assert tried == [1, 8]


def test_a_users_own_hook_on_a_module_is_part_of_every_row():
    model = tiny_model()
    changes = patches(model, SOURCE, ("resid_pre", "z"))
    handle = model.hf_model.model.layers[1].mlp.register_forward_hook(lambda _, __, out: out * (out[:, :1] > 0))
    engine, values = replayed(model, BASE, changes)
    assert engine.refusal == "a hook that is not ours is on layer 1 (mlp), and may look at any position"
    torch.testing.assert_close(values, one_by_one(model, BASE, changes), atol=1e-4, rtol=1e-4)
    handle.remove()
    assert engine_for(model, BASE, changes).refusal is None


def test_transformers_own_hooks_are_no_reason_to_go_the_plain_way():
    model = tiny_model()
    model.hf_model(BASE, output_attentions=True, output_hidden_states=True)
    assert Replay(model, BASE, ()).refusal is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_engine_that_makes_no_change_is_caught(family, dtype, monkeypatch):
    model = mw.HookedModel(tiny_hf_model(family, dtype=dtype), tiny_tokenizer())
    places = itertools.product(("mlp_out", "attn_out"), range(model.cfg.n_layers), range(8))
    changes = [(mw.Intervention(site, layer, position=at),) for site, layer, at in places]
    base = last(engine_for(model, BASE, changes).logits[None])
    _, expected = replayed(model, BASE, changes, plain=True)
    effects, right = (expected - base).abs().amax(-1), replay.descend
    monkeypatch.setattr(replay, "descend", lambda base, plan, made, read: right(base, plan, [()] * len(made), read))
    missed = []
    for change, effect in zip(changes, effects.tolist(), strict=True):
        try:
            list(engine_for(model, BASE, [change]).run([change], last))
        except RuntimeError:
            continue
        missed.append(effect)
    assert max(missed) <= (1e-3 if dtype == torch.float32 else 0.1)


def test_logits_that_are_masked_are_checked_all_the_same(monkeypatch):
    model = tiny_model()
    changes = patches(model, SOURCE, ("resid_pre",))
    with torch.no_grad():
        model.hf_model.lm_head.bias = torch.nn.Parameter(torch.zeros(model.cfg.d_vocab))
        model.hf_model.lm_head.bias[7] = -torch.inf
    assert list(engine_for(model, BASE, changes).run(changes, last))
    monkeypatch.setattr(replay, "descend", wrong(replay.descend))
    with pytest.raises(RuntimeError, match="further than rounding explains"):
        list(engine_for(model, BASE, changes).run(changes, last))


def test_what_comes_behind_the_position_that_is_read_is_not_computed():
    model = tiny_model()
    changes = [(mw.Intervention("resid_pre", layer, position=at),) for layer in range(3) for at in range(8)]
    changes.append((mw.Intervention("mlp_out", 1, position=7, op="mean"), mw.Intervention("mlp_out", 1, op="mean")))
    engine = engine_for(model, BASE, changes, positions=(2,))
    told = [indices for indices, _ in engine.run(changes, last)]
    assert len(max(told, key=len)) == 3 * 5
    _, values = replayed(model, BASE, changes, positions=(2,))
    expected = one_by_one(model, BASE, changes, lambda logits: last(logits[:, :, 2:3]))
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def test_the_beginning_of_a_long_prompt_counts_as_memory():
    model = tiny_model(max_position_embeddings=2048)
    whole = passes.bytes_of_row(model.cfg, 1, 1000)
    end = passes.bytes_of_row(model.cfg, 1, 1000, 999)
    assert 2 * 1000 * 6 * 8 * 4 < end < whole / 10  # keys and values of two heads, and repeated for four
    assert passes.Room(model, 1, 1000, whole).rows(999) == whole // end


def test_a_batch_of_as_many_prompts_as_something_else_has_rows():
    """MPT's table of biases has a row for each head, which is no row of the batch."""
    model = tiny_model("mpt")
    tokens = BASE.repeat(model.cfg.n_heads, 1) + torch.arange(model.cfg.n_heads)[:, None]
    changes = [
        (mw.Intervention("resid_pre", layer, position=at, op="scale", value=0.5),) for layer in (0, 1) for at in (1, 6)
    ]
    _, values = replayed(model, tokens, changes)
    torch.testing.assert_close(values, one_by_one(model, tokens, changes), atol=1e-4, rtol=1e-4)


def test_an_edit_before_the_layer_at_which_its_row_joins():
    model = tiny_model()
    changes = [(mw.ablate(head=(0, 0)),), (mw.Intervention("mlp_out", 0, op="freeze"), mw.ablate(head=(1, 0)))]
    _, values = replayed(model, BATCH, changes)
    torch.testing.assert_close(values, one_by_one(model, BATCH, changes), atol=1e-4, rtol=1e-4)


def test_nothing_is_left_behind_when_a_sweep_is_dropped():
    model = tiny_model()
    before = model(BASE)
    changes = patches(model, SOURCE, ("resid_pre",))
    engine = engine_for(model, BASE, changes)
    next(iter(engine.run(changes, last)))
    del engine
    assert torch.equal(model(BASE), before)


@pytest.mark.smollm2
def test_smollm2(smollm2):
    clean, corrupted = (f"When Mary and John went to the store, {name} gave a drink to" for name in ("John", "Mary"))
    _, cache = smollm2.run_with_cache(clean, names_filter="z")
    tokens = smollm2.to_tokens(corrupted)
    changes = [(mw.patch_from(cache, "z", layer, head=head),) for layer in (3, 23, 29) for head in (0, 3)]
    engine, values = replayed(smollm2, tokens, changes, verify=0)
    assert engine.refusal is None
    torch.testing.assert_close(values, one_by_one(smollm2, tokens, changes), atol=1e-4, rtol=0)
