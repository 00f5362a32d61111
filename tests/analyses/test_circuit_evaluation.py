"""Circuit evaluation: identities and an independent float64 ablation."""

import numpy as np
import pytest
import torch

from mechbench.analyses.circuit_evaluation import circuit_evaluation
from mechbench.errors import TaskError, UnsupportedHookError

ALL = [[layer, head] for layer in range(3) for head in range(4)]


def test_keeping_every_head_is_the_intact_model(model, task):
    result = circuit_evaluation(model, task, heads=ALL, n_random=1)
    np.testing.assert_allclose(result.values[-1], result.full, atol=1e-5)
    assert not np.allclose(result.values[0], result.full, atol=1e-2)
    np.testing.assert_allclose(
        result.control[-1, 0], result.full_summary.sel(estimate="mean"), atol=1e-5
    )


def test_agrees_with_a_float64_ablation(model, task):
    result = circuit_evaluation(model, task, heads=["1.2", "0.3"], n_random=1, seed=4)
    double, metric = model.double(), task.metric()
    _, corrupt = double.run_with_cache(task.pairs("all", seed=4).corrupt)
    for step, kept in [(0, []), (1, [(1, 2)]), (2, [(1, 2), (0, 3)])]:

        def ablate(z, hook, kept=kept):
            for head in range(4):
                if (hook.layer(), head) not in kept:
                    z[:, :, head] = sum(corrupt[hook.name][:, :, head]) / len(task)
            return z

        logits = double.run_with_hooks(
            task.clean, fwd_hooks=[(lambda name: name.endswith("hook_z"), ablate)]
        )
        logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        expected = metric(logits[..., metric.vocab])
        np.testing.assert_allclose(result.values[step], expected.detach(), atol=2e-5)


def test_order_comes_from_the_head_sweep_when_nobody_gives_one(model, task):
    from mechbench.analyses.head_sweep import head_sweep

    result = circuit_evaluation(model, task, n_heads=3, n_random=2)
    sweep = head_sweep(model, task, where=["all"], control=False).summary
    damage = sweep.sel(estimate="mean").isel(where=0).sum("answer").values
    order = [divmod(int(i), 4) for i in damage.ravel().argsort()[:3]]
    assert result.order == tuple(f"{layer}.{head}" for layer, head in order)
    assert result.chosen_by == "head sweep"
    assert list(result.values.step.values) == ["nothing", *result.order]
    assert result.control.dims == ("step", "draw", "answer")


def test_same_seed_same_result(model, task):
    one, two = (circuit_evaluation(model, task, n_heads=2, n_random=3, seed=5) for _ in range(2))
    assert one.values.identical(two.values) and one.control.identical(two.control)


def test_impossible_requests(model, task, make_task):
    with pytest.raises(UnsupportedHookError, match="no head 9.9"):
        circuit_evaluation(model, task, heads=["9.9"])
    with pytest.raises(TaskError, match="at least 2"):
        circuit_evaluation(model, make_task(n=1))
    with pytest.raises(TaskError, match="n_random=0"):
        circuit_evaluation(model, task, n_random=0)
