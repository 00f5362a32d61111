"""Head sweep against TransformerLens' patching and a single hook."""

import numpy as np
import pytest
import torch
from transformer_lens import patching

from mechbench.analyses.head_sweep import head_sweep
from mechbench.errors import TaskError


def test_all_positions_agree_with_transformer_lens(model, task):
    result = head_sweep(model, task, where=["all"], letters=[2], control=False, seed=1)
    pairs, metric = task.pairs("current_word", letter=2, seed=1), task.metric()

    def mean_difference(logits):
        logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        return metric(logits[..., metric.vocab])[:, 1].mean()

    _, corrupt = model.run_with_cache(pairs.corrupt)
    expected = patching.get_act_patch_attn_head_out_all_pos(
        model, pairs.clean, corrupt, mean_difference
    ) - mean_difference(model(pairs.clean))
    found = result.summary.sel(estimate="mean", where="all positions").isel(answer=0)
    np.testing.assert_allclose(found, expected.detach(), atol=1e-5)
    assert result.control is None


@pytest.mark.parametrize("where, offset", [("word", 4), ("answer", 9)])
def test_one_position_is_one_hook(model, task, where, offset):
    result = head_sweep(
        model, task, corruption="previous_words", where=[where], letters=[2], control=False
    )
    pairs, metric = task.pairs("previous_words", letter=2), task.metric()
    name = "blocks.1.attn.hook_z"
    _, cache = model.run_with_cache(pairs.corrupt, names_filter=name)

    def write(z, hook):
        z = z.clone()
        z[:, offset, 2] = cache[name][:, offset, 2]
        return z

    def ld(logits):
        logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        return metric(logits[..., metric.vocab])[:, 1]

    with torch.no_grad():
        patched = model.run_with_hooks(pairs.clean, fwd_hooks=[(name, write)])
        expected = ld(patched) - ld(model(pairs.clean))
    np.testing.assert_allclose(result.effect[0, 0, 1, 2], expected, atol=1e-5)


def test_letter_one_has_no_previous_words(model, task):
    result = head_sweep(model, task, corruption="previous_words", where=["word", "answer"])
    assert list(result.effect.answer.values) == ["letter 2", "letter 3"]
    assert list(result.effect["where"].values) == ["C_i", "A_{i-1}"]
    assert result.control.dims == ("estimate", "answer", "where", "layer", "head")


def test_an_unknown_place(model, task):
    with pytest.raises(TaskError, match="use some of all, word, answer"):
        head_sweep(model, task, where=["nowhere"])
