"""Merged experts against the parameters themselves."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from mechbench.analyses.common.expert_weights import expert_hooks
from mechbench.analyses.merged_experts import merged_experts
from mechbench.errors import TaskError, UnsupportedHookError
from tests.analyses.expert_models import reading_the_corpus, repeats, with_experts


def mean(values):
    return values.sel(estimate="mean")


@torch.no_grad()
def test_distances_are_those_of_the_merged_parameters():
    model = with_experts().double()
    task = repeats(model)
    result = merged_experts(model, task, on="task", n_random=3)
    cache = model.run_with_cache(task.clean)[1]
    for layer, name in expert_hooks(model).items():
        mlp, weights = model.blocks[layer].mlp, cache[name]
        merged = torch.cat([w.flatten(2) for w in mlp.merge(weights)], dim=-1)[:, 1:]
        flat = torch.cat([w.flatten(1) for w in (mlp.W_gate, mlp.W_in, mlp.W_out)], dim=1)
        n = len(flat)
        apart = [(flat[i] - flat[j]).norm() for i in range(n) for j in range(n) if i != j]
        unit = torch.stack(apart).mean()
        for target, row in [*enumerate(flat), ("mean", flat.mean(0))]:
            expected = (merged - row).norm(dim=-1).mean() / unit
            found = mean(result.distance).sel(layer=layer, target=str(target))[0]
            assert float(found) == pytest.approx(float(expected), abs=1e-9)
        expected = (flat[0] - flat[3]).norm() / flat.norm(dim=1).mean()
        found = result.experts_apart.sel(layer=layer, expert=0, other=3)
        assert float(found) == pytest.approx(float(expected))
        numbers = 2 ** entropy(weights.numpy(), base=2, axis=-1)
        found = mean(result.effective_by_segment).sel(layer=layer)
        np.testing.assert_allclose(found, numbers.mean(0), atol=1e-9)
        assert float(mean(result.effective).sel(layer=layer)[0]) == pytest.approx(
            numbers[:, 1:].mean()
        )
        assert float(found[0]) == pytest.approx(n)  # the first segment is uniform


def test_one_expert_alone_is_at_no_distance_from_itself():
    model = reading_the_corpus(segment_length=16)
    hooks = expert_hooks(model)

    def second(weights, hook):
        return torch.eye(weights.shape[-1])[1].expand_as(weights)

    with model.hooks([(name, second) for name in hooks.values()]):
        result = merged_experts(model, repeats(model), rows=2)
    np.testing.assert_allclose(mean(result.effective), 1, atol=1e-9)
    np.testing.assert_allclose(mean(result.distance).sel(target="1"), 0, atol=1e-6)
    assert float(mean(result.distance).sel(target="0").min()) > 0.5
    assert result.distance.sizes["domain"] == 6 and result.n_texts == 12
    # random weights lie between: more than one expert, fewer than all
    assert 1.5 < float(mean(result.effective_control).mean()) < model.config.n_experts


def test_experts_that_are_not_merged_are_refused():
    model = with_experts("deepseek-v2")
    with pytest.raises(UnsupportedHookError, match="no merged parameters .* lory"):
        merged_experts(model, repeats(model), on="task")
    model = with_experts()
    with pytest.raises(TaskError, match="n_random=0"):
        merged_experts(model, repeats(model), on="task", n_random=0)
