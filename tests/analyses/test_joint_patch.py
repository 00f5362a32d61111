"""Cells patched together, against plain hooks of a model whose parts are known."""

import numpy as np
import pytest
import torch

from mechbench.analyses.joint_patch import joint_patch
from mechbench.analyses.patch_sweep import patch_sweep
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.joint_patch import joint_patch_figure
from tests.analyses.reading_models import bridged, numbers

CELLS = [(0, 1), [1, 0], (1, 1)]


def overwritten(model, task, direction, cells):
    """The metric with z of ``cells`` from the other run; written without the library's patches."""
    pairs = task.pairs()
    into, other = (
        (pairs.clean, pairs.corrupt) if direction == "noise" else (pairs.corrupt, pairs.clean)
    )
    _, cache = model.run_with_cache(other)

    def write(layer):
        def hook(z, hook):
            z = z.clone()
            for at, head in cells:
                if at == layer:
                    z[:, :, head] = cache[f"blocks.{layer}.attn.hook_z"][:, :, head]
            return z

        return hook

    hooks = [(f"blocks.{layer}.attn.hook_z", write(layer)) for layer in range(2)]
    metric = task.metric()
    logits = model.run_with_hooks(into, fwd_hooks=hooks)
    logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    return metric(logits if metric.vocab is None else logits[..., metric.vocab]).mean(-1).detach()


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_joint_and_single_effects(model, task, direction):
    found = joint_patch(model, task, cells=CELLS, direction=direction)
    base = overwritten(model, task, direction, [])
    joint = overwritten(model, task, direction, CELLS) - base
    np.testing.assert_allclose(found.joint, joint, atol=1e-4)
    for cell in CELLS:
        single = overwritten(model, task, direction, [cell]) - base
        np.testing.assert_allclose(found.single.sel(cell=f"{cell[0]}.{cell[1]}"), single, atol=1e-4)
    mean = float(joint.mean()) - float(found.single.values.sum(0).mean())
    assert float(found.beyond.sel(estimate="mean")) == pytest.approx(mean, abs=1e-4)
    assert abs(mean) > 1e-3  # these cells do not add up
    swept = patch_sweep(model, task, direction=direction, control=False)
    np.testing.assert_allclose(
        found.single_summary.sel(cell="1.1"), swept.summary[:, 1, 1], atol=1e-4
    )


def test_cells_of_a_linear_reading_add_up(model, task):
    """MLPs of the last layer: each answer is read at one of the positions."""
    n = task.clean.shape[1]
    cells = [(2, n - 2), (2, n - 1)]
    found = joint_patch(model, task, cells=cells, site="mlp_out")
    beyond = found.beyond.sel(estimate="mean")
    np.testing.assert_allclose(beyond, 0.0, atol=1e-4)
    assert abs(found.joint).max() > 1e-3
    np.testing.assert_allclose(found.total, found.joint_summary, atol=1e-4)


def test_no_hook_stays_and_the_control_is_random(model, task):
    with torch.no_grad():
        before = model(task.clean)
        one = joint_patch(model, task, cells=CELLS)
        assert torch.equal(model(task.clean), before)
    again, other = (joint_patch(model, task, cells=CELLS, seed=seed) for seed in (0, 1))
    assert one.control.equals(again.control) and not one.control.equals(other.control)


def test_the_figure(model, task):
    figure = joint_patch_figure(joint_patch(model, task, cells=CELLS))
    (panel,) = figure.panels
    assert panel.groups == ("0.1", "1.0", "1.1", "sum", "together", "control")
    assert "minus the sum" in figure.caption and "prompts of acronyms" in figure.caption


def test_bridged_models(tmp_path):
    model = bridged(tmp_path, "Llama")
    found = joint_patch(model, numbers(model), cells=[(0, 0), (1, 1)])
    assert found.single.sizes["cell"] == 2


def test_refusals(model, task):
    for wrong in (
        {"cells": [(0, 0)]},
        {"cells": [(0, 0), (0, 0)]},
        {"cells": [(0, 0), (9, 0)]},
        {"cells": [(0, 0), (0, 99)], "site": "resid_pre"},
        {"site": "resid_pre", "position": 3},
    ):
        with pytest.raises(TaskError):
            joint_patch(model, task, **wrong)
    with pytest.raises(UnsupportedHookError):
        joint_patch(model, task, cells=[(0, 0), (0, 9)])
