"""Sweeps on any task, against single patched forwards."""

import numpy as np
import pytest
import torch

from mechbench.analyses.patch_sweep import patch_sweep
from mechbench.errors import MechbenchError, TaskError, UnsupportedHookError
from mechbench.figures.patch_sweep import patch_sweep_figure
from mechbench.results.io import load_result
from tests.analyses.reading_models import bridged, loud_norms, numbers


def logit_diff(model, task, tokens, hooks=()):
    metric = task.metric()
    with torch.no_grad():
        logits = model.run_with_hooks(tokens, fwd_hooks=list(hooks))
    at = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    return metric(at if metric.vocab is None else at[..., metric.vocab]).mean(-1).numpy()


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_heads_against_one_forward_each(model, task, direction):
    result = patch_sweep(model, task, direction=direction)
    pairs = task.pairs()
    base, other = pairs.clean, pairs.corrupt
    if direction == "denoise":
        base, other = other, base
    _, cache = model.run_with_cache(other)
    unpatched = logit_diff(model, task, base)
    np.testing.assert_allclose(result.base, unpatched, atol=1e-5)
    np.testing.assert_allclose(result.other, logit_diff(model, task, other), atol=1e-5)
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            name = f"blocks.{layer}.attn.hook_z"

            def write(z, hook, head=head, name=name):
                z = z.clone()
                z[:, :, head] = cache[name][:, :, head]
                return z

            patched = logit_diff(model, task, base, [(name, write)])
            np.testing.assert_allclose(result.effect[layer, head], patched - unpatched, atol=1e-4)
    assert result.place == "head" and result.done and result.control is not None
    mean = result.summary.sel(estimate="mean")
    np.testing.assert_allclose(mean, result.effect.mean("prompt"), atol=1e-6)


def test_all_of_the_last_stream_is_the_other_run(model, task):
    """At each position alone; at layer 0 a patch of an unchanged position changes nothing."""
    result = patch_sweep(model, task, site="resid_pre", control=False)
    pairs = task.pairs()
    same = (pairs.clean == pairs.corrupt).all(0).numpy()
    assert same.any() and not same.all()
    np.testing.assert_allclose(result.effect[0][same], 0.0, atol=1e-6)
    assert result.control is None and result.place == "position"
    share = result.share.sel(estimate="mean")
    whole = result.effect.mean("prompt") / (result.other.mean() - result.base.mean())
    np.testing.assert_allclose(share, whole, rtol=1e-4, atol=1e-5)


def test_rows_are_there_as_they_are_done(model, task, tmp_path):
    seen = []

    def look(done, total):
        folder = tmp_path / "so-far"
        seen.append(load_result(folder) if (folder / "result.json").is_file() else None)

    result = patch_sweep(model, task, progress=look, checkpoint=tmp_path)
    partial = [found for found in seen if found is not None and not found.done]
    assert partial and seen[0] is None
    np.testing.assert_array_equal(partial[0].summary[:, 0], result.summary[:, 0])
    assert bool(partial[0].effect[-1].isnull().all())
    figure = patch_sweep_figure(partial[0])
    assert np.isnan(figure.panels[0].values[-1]).all()
    again = patch_sweep(model, task, checkpoint=tmp_path)
    np.testing.assert_array_equal(again.effect, result.effect)


def test_the_figure_shows_the_means(model, task):
    result = patch_sweep(model, task, site="mlp_out", control=True)
    (panel,) = patch_sweep_figure(result).panels
    np.testing.assert_array_equal(panel.values, result.summary.sel(estimate="mean"))
    (shares,) = patch_sweep_figure(result, shown="share").panels
    np.testing.assert_array_equal(shares.values, result.share.sel(estimate="mean"))
    assert "Random directions" in patch_sweep_figure(result).caption
    control = patch_sweep_figure(result, shown="control")
    np.testing.assert_array_equal(control.panels[0].values, result.control.sel(estimate="mean"))
    assert control.panels[0].colour.limit == float(abs(panel.values).max())
    assert "random direction" in control.caption
    without = patch_sweep(model, task, site="mlp_out", control=False)
    with pytest.raises(MechbenchError, match="no control"):
        patch_sweep_figure(without, shown="control")


def test_one_cell_and_its_intervals(model, task):
    result = patch_sweep(model, task, site="mlp_out")
    names = {"change": result.summary, "share": result.share, "control": result.control}
    for name, values in names.items():
        np.testing.assert_array_equal(result.at(1, 4)[name], values[:, 1, 4])
    low, high = result.interval("share")
    np.testing.assert_array_equal(low, result.share.sel(estimate="low"))
    np.testing.assert_array_equal(high, result.share.sel(estimate="high"))
    without = patch_sweep(model, task, site="mlp_out", control=False)
    assert set(without.at(0, 0)) == {"change", "share"} and without.interval("control") is None


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX"])
def test_bridged_models(tmp_path, kind):
    model = bridged(tmp_path, kind)
    result = patch_sweep(model, numbers(model), control=False)
    assert result.done and float(abs(result.effect).max()) > 0


def test_refusals(model, make_task, tmp_path):
    with pytest.raises(TaskError, match="prompts"):
        patch_sweep(model, make_task(1))
    neox = bridged(tmp_path, "GPTNeoX")
    with pytest.raises(UnsupportedHookError, match="resid_mid"):
        patch_sweep(neox, numbers(neox), site="resid_mid")
    assert loud_norms(model) is not None
