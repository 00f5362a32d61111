"""Position swap: identities, and a model whose weights really are exchanged."""

import numpy as np
import pytest
import torch

from mechbench.analyses.position_swap import position_swap
from mechbench.errors import TaskError, UnsupportedHookError


def test_swapping_a_word_with_itself_changes_nothing(model, task):
    result = position_swap(model, task, heads=["1.1"], swaps=[[2, 2]])
    for condition in ("C rows swapped", "T rows swapped"):
        assert (
            result.attention.sel(condition=condition).values
            == result.attention.sel(condition="clean").values
        ).all()


def test_equals_exchanged_weights_and_leaves_the_weights_alone(model, task):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    result = position_swap(model, task, heads=["1.1", "2.3"], swaps=[[1, 3]])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model = model.double()
    with torch.no_grad():
        model.pos_embed.W_pos[[2, 6]] = model.pos_embed.W_pos[[6, 2]]
    logits, cache = model.run_with_cache(task.clean)
    expected = cache["pattern", 2][:, 3][:, [8, 9, 10]][..., [2, 4, 6]].permute(1, 2, 0)
    found = result.attention.sel(head="2.3", condition="C rows swapped").isel(swap=0)
    np.testing.assert_allclose(found, expected.detach(), atol=2e-6)
    metric = task.metric()
    logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    expected = metric(logits[..., metric.vocab]).detach()
    found = result.logit_diff.sel(condition="C rows swapped").isel(swap=0)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_all_pairs_by_default(model, task):
    result = position_swap(model, task, heads=["1.1"])
    assert list(result.attention.swap.values) == ["C1↔C2", "C1↔C3", "C2↔C3"]


def test_impossible_requests(model, task):
    with pytest.raises(TaskError, match=r"\[1, 4\] is not a pair of words"):
        position_swap(model, task, swaps=[[1, 4]])
    del model.hook_pos_embed
    model.hook_dict.pop("hook_pos_embed")
    with pytest.raises(UnsupportedHookError, match="learned absolute position"):
        position_swap(model, task, heads=["1.1"])
