"""BOS swap against hand-written hooks in float64, and identities."""

import numpy as np
import pytest
import torch

from mechbench.analyses.bos_swap import bos_swap
from mechbench.errors import TaskError


def _ld(logits, metric):
    logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    return metric(logits[..., metric.vocab]).detach().numpy()


def test_swapping_a_word_with_itself_changes_nothing(model, task):
    result = bos_swap(model, task, swaps=[[2, 2]])
    np.testing.assert_allclose(result.effect, 0, atol=1e-5)


def test_agrees_with_one_hook_at_a_time(model, task):
    result = bos_swap(model, task, swaps=[[1, 3]])
    model, metric = model.double(), task.metric()
    base = _ld(model(task.clean), metric)
    for layer, head in [(0, 1), (1, 3), (2, 0)]:

        def write(pattern, hook, head=head):
            first, third = pattern[:, head, 2, 0].clone(), pattern[:, head, 6, 0].clone()
            pattern[:, head, 2, 0], pattern[:, head, 6, 0] = third, first
            return pattern

        name = f"blocks.{layer}.attn.hook_pattern"
        expected = _ld(model.run_with_hooks(task.clean, fwd_hooks=[(name, write)]), metric) - base
        found = result.effect.isel(swap=0, layer=layer, head=head).transpose("prompt", "answer")
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (abs(result.effect.isel(layer=0)) > 1e-4).any()
    # rows C1 and C3 of the last layer are read by nobody
    np.testing.assert_allclose(result.effect.isel(layer=2), 0, atol=1e-5)


def test_the_control_uses_another_column(model, task):
    result = bos_swap(model, task, swaps=[[1, 3]])
    assert not np.allclose(result.control, result.summary, atol=1e-4)
    assert result.control.dims == ("estimate", "swap", "answer", "layer", "head")


def test_impossible_words(model, task):
    with pytest.raises(TaskError, match="not a pair of words"):
        bos_swap(model, task, swaps=[[0, 1]])
