"""Combined swap: its parts are the single experiments, and BOS columns are frozen."""

import numpy as np
import pytest
import torch

from mechbench.analyses.bos_swap import bos_swap
from mechbench.analyses.combined_swap import combined_swap
from mechbench.analyses.position_swap import position_swap
from mechbench.errors import TaskError


def test_pos_alone_is_the_position_swap(model, task):
    both = combined_swap(model, task, heads=["2.1"], swaps=[[1, 2]], n_random=1)
    pos = position_swap(model, task, heads=["2.1"], swaps=[[1, 2]])
    for mine, theirs in (("clean", "clean"), ("POS", "C rows swapped")):
        np.testing.assert_allclose(
            both.attention.sel(condition=mine), pos.attention.sel(condition=theirs), atol=1e-6
        )
        np.testing.assert_allclose(
            both.logit_diff.sel(condition=mine), pos.logit_diff.sel(condition=theirs), atol=1e-6
        )


def test_bos_writes_the_swapped_clean_column_into_the_damaging_heads(model, task):
    result = combined_swap(model, task, heads=["2.1"], swaps=[[1, 2]], threshold=0.02, n_random=1)
    single = bos_swap(model, task, swaps=[[1, 2]]).summary.sel(estimate="mean").isel(swap=0)
    expected = (single < -0.02).any("answer")
    assert expected.any() and not expected.all()
    assert (result.swapped.isel(swap=0).values == expected.values).all()
    _, cache = model.run_with_cache(task.clean)

    def write(pattern, hook):
        for head in np.flatnonzero(expected[hook.layer()]):
            clean = cache[hook.name][:, head, :, 0].clone()
            clean[:, [2, 4]] = clean[:, [4, 2]]
            pattern[:, head, :, 0] = clean
        return pattern

    _, names = None, [f"blocks.{layer}.attn.hook_pattern" for layer in range(3)]
    seen = {}

    def read(pattern, hook):
        seen[hook.name] = pattern.detach().clone()

    for condition in ("BOS", "POS+BOS"):
        hooks = [(name, write) for name in names] + [(name, read) for name in names]
        if condition == "POS+BOS":
            hooks.append(("hook_pos_embed", lambda x, hook: x[:, [0, 1, 4, 3, 2, *range(5, 11)]]))
        with torch.no_grad():
            model.run_with_hooks(task.clean, fwd_hooks=hooks)
        expected_rows = seen[names[2]][:, 1][:, [8, 9, 10]][..., [2, 4, 6]].permute(1, 2, 0)
        found = result.attention.sel(condition=condition).isel(head=0, swap=0)
        np.testing.assert_allclose(found, expected_rows, atol=1e-6)


def test_nothing_above_the_threshold_is_no_swap(model, task):
    result = combined_swap(model, task, heads=["2.1"], swaps=[[1, 2]], threshold=1e6, n_random=2)
    assert not result.swapped.any()
    clean, bos = (result.attention.sel(condition=c).values for c in ("clean", "BOS"))
    np.testing.assert_array_equal(clean, bos)


def test_a_negative_threshold(model, task):
    with pytest.raises(TaskError, match="threshold=-1"):
        combined_swap(model, task, threshold=-1)
