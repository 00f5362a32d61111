"""Circuit formation: each snapshot's numbers are those of the snapshot alone."""

import copy

import numpy as np
import pytest
import torch

from mechbench.analyses.circuit_evaluation import circuit_evaluation
from mechbench.analyses.circuit_formation import circuit_formation
from mechbench.analyses.ov_copying import ov_copying
from mechbench.errors import SpecError


@pytest.fixture
def snapshots(model):
    """Step 100 is the model, step 0 the model with half of its head outputs."""
    early = copy.deepcopy(model)
    with torch.no_grad():
        for block in early.blocks:
            block.attn.W_O.mul_(0.5)
    return {100: model, 0: early}


def test_each_step_is_its_own_model(snapshots, model, task):
    result = circuit_formation(
        model, task, heads=["1.2", "0.3"], snapshots=[100, 0], load=snapshots.__getitem__, seed=2
    )
    assert list(result.logit_diff.step.values) == [0, 100]
    metric = task.metric()
    for step, snapshot in snapshots.items():
        alone = circuit_evaluation(snapshot, task, heads=["1.2", "0.3"], n_random=1, seed=2)
        found = result.logit_diff.sel(estimate="mean", step=step).isel(answer=slice(3))
        means = alone.summary.sel(estimate="mean")
        np.testing.assert_allclose(found.sel(part="circuit"), means[-1], atol=1e-5)
        np.testing.assert_allclose(found.sel(part="nothing"), means[0], atol=1e-5)
        scores = ov_copying(snapshot, task, heads=["1.2"], mlp0=True, n_random=1)
        np.testing.assert_allclose(
            result.copying.sel(step=step, head="1.2"),
            scores.score.sel(estimate="mean", source="␠X", target="X", member="1.2"),
        )
        with torch.no_grad():
            logits = torch.take_along_dim(snapshot(task.clean), metric.positions[..., None], dim=1)
        best = logits[..., task.capitals].argmax(-1)
        accuracy = result.accuracy.sel(estimate="mean", step=step)
        np.testing.assert_allclose(accuracy[:3], (best == task.letters).double().mean(0))
        np.testing.assert_allclose(accuracy[3], (best == task.letters).double().mean())


def test_the_effect_is_one_head_ablated(snapshots, model, task):
    result = circuit_formation(
        model, task, heads=["1.2"], snapshots=[100], load=snapshots.__getitem__
    )
    _, corrupt = model.run_with_cache(task.pairs("all").corrupt)
    metric = task.metric()

    def write(z, hook):
        z = z.clone()
        z[:, :, 2] = corrupt[hook.name][:, :, 2].mean(0)
        return z

    def ld(logits):
        logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        return metric(logits[..., metric.vocab])

    with torch.no_grad():
        ablated = model.run_with_hooks(task.clean, fwd_hooks=[("blocks.1.attn.hook_z", write)])
        expected = (ld(ablated) - ld(model(task.clean))).mean(0)
    np.testing.assert_allclose(result.effect.sel(estimate="mean")[0, 0, :3], expected, atol=1e-5)
    assert not np.allclose(result.effect_control[:, :3], expected, atol=1e-4)


def test_a_model_without_snapshots(model, task):
    with pytest.raises(SpecError, match="no training snapshots"):
        circuit_formation(model, task, heads=["1.2"])
    with pytest.raises(SpecError, match="give load="):
        circuit_formation(model, task, heads=["1.2"], snapshots=[1])
