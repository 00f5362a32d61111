"""Edits of value vectors act, add up, and leave no bit behind, whatever happens inside."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from mechbench.errors import UnsupportedHookError
from mechbench.interventions.weight_edits import (
    ValueVectorEdit,
    edited,
    layers_sharing,
    output_bias,
    output_weight,
)
from mechbench.models.fingerprint import weight_fingerprint
from mechbench.models.loading import load_model
from mechbench.models.variants.deepseek_v2 import SPEC as DEEPSEEK
from mechbench.models.variants.plain import SPEC as PLAIN
from tests.analyses.reading_models import bridged
from tests.interventions.conftest import random_model


def bits(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def unchanged(model, before):
    after = model.state_dict()
    return before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)


@pytest.fixture
def model():
    return random_model()


@pytest.fixture
def edits(model):
    return [ValueVectorEdit(1, 5, torch.randn(32)), ValueVectorEdit(2, 40, torch.randn(32))]


@torch.no_grad()
def test_an_edit_adds_the_activation_times_the_vector(model, edits):
    tokens = torch.randint(50, (3, 7))
    names = ["blocks.1.mlp.hook_post", "blocks.1.hook_mlp_out"]
    _, before = model.run_with_cache(tokens, names_filter=names)
    with edited(model, edits):
        _, after = model.run_with_cache(tokens, names_filter=names)
    added = before[names[0]][..., 5:6] * edits[0].add
    torch.testing.assert_close(after[names[1]], before[names[1]] + added, atol=1e-5, rtol=0)
    assert (added.abs() > 0.1).any()


def test_every_bit_is_put_back(model, edits):
    before, fingerprint = bits(model), weight_fingerprint(model)
    # 1e9 swallows the row, so subtracting it again would not give the row back
    with edited(model, [*edits, ValueVectorEdit(0, 0, torch.full((32,), 1e9))]):
        assert not unchanged(model, before)
    assert unchanged(model, before) and weight_fingerprint(model) == fingerprint


def test_an_exception_inside_leaves_nothing_applied(model, edits):
    before = bits(model)
    with pytest.raises(KeyError, match="inside"), edited(model, edits):
        raise KeyError("inside")
    assert unchanged(model, before)
    with pytest.raises(KeyboardInterrupt), torch.inference_mode(), edited(model, edits):
        raise KeyboardInterrupt
    assert unchanged(model, before)


def test_nested_edits_and_two_of_one_row_add_up(model):
    before = bits(model)
    one, two = torch.randn(32), torch.randn(32)
    row = output_weight(model, 1)[3]
    first = row.clone()
    with edited(model, [ValueVectorEdit(1, 3, one)]):
        outer = row.clone()
        with edited(model, [ValueVectorEdit(1, 3, two), ValueVectorEdit(1, 3, two)]):
            torch.testing.assert_close(row, first + one + 2 * two)
        assert torch.equal(row, outer)
    assert unchanged(model, before)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(edited(model, [ValueVectorEdit(1, 3, one)]))
        torch.testing.assert_close(row, first + 3 * one)
    assert unchanged(model, before)


@torch.no_grad()
def test_layers_that_share_their_weights_are_edited_and_put_back_together(model):
    model.blocks[2] = model.blocks[0]
    assert layers_sharing(model, 0) == layers_sharing(model, 2) == (0, 2)
    assert layers_sharing(model, 1) == (1,)
    before, add = bits(model), torch.randn(32)
    with edited(model, [ValueVectorEdit(0, 1, add), ValueVectorEdit(2, 1, add)]):
        change = output_weight(model, 2)[1] - before["blocks.0.mlp.W_out"][1]
        torch.testing.assert_close(change, 2 * add)
    assert unchanged(model, before)


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX"])
@pytest.mark.parametrize("fold_ln", [False, True])
@torch.no_grad()
def test_bridged_models_are_edited_too(tmp_path, kind, fold_ln):
    model = bridged(tmp_path, kind, fold_ln=fold_ln)
    before, tokens = bits(model), torch.arange(6)[None]
    names = ["blocks.1.mlp.hook_post", "blocks.1.hook_mlp_out"]
    logits, cache = model.run_with_cache(tokens, names_filter=names)
    post, weight = cache[names[0]], output_weight(model, 1)
    torch.testing.assert_close(post @ weight + output_bias(model, 1), cache[names[1]])
    with edited(model, [ValueVectorEdit(1, 7, torch.randn(32))]):
        assert (model(tokens) - logits).abs().max() > 1e-3
    assert unchanged(model, before) and torch.equal(model(tokens), logits)


def test_what_the_model_does_not_have_is_refused_before_anything_changes(model, edits):
    before, add = bits(model), torch.ones(32)
    wrong = {
        "no layer 3: its layers are 0..2": ValueVectorEdit(3, 0, add),
        "no layer -1": ValueVectorEdit(-1, 0, add),
        "no neuron 48: its neurons are 0..47": ValueVectorEdit(1, 48, add),
        r"\[33\], and value vectors .* have \[32\]": ValueVectorEdit(1, 0, torch.ones(33)),
    }
    for message, edit in wrong.items():
        with pytest.raises(UnsupportedHookError, match=message), edited(model, [*edits, edit]):
            pass
        assert unchanged(model, before)


def test_mlps_of_other_kinds_are_refused_with_the_names_of_those_that_work():
    experts = DEEPSEEK.build(DEEPSEEK.presets["tiny"], "experts")
    config = replace(PLAIN.presets["tiny-attention-only"])
    for model in (experts, PLAIN.build(config, "attention")):
        with pytest.raises(UnsupportedHookError, match="architectures: .*gpt2, llama") as found:
            output_weight(model, model.cfg.n_layers - 1)
        assert "deepseek-v2" not in str(found.value)


def test_bundled_weights_come_back():
    model = load_model("acronyms-gpt2", device="cpu")
    before = bits(model)
    with edited(model, [ValueVectorEdit(3, 9, torch.ones(model.cfg.d_model))]):
        assert not unchanged(model, before)
    assert unchanged(model, before)
