"""One patch looked at closely, against the sweep and the model's own runs."""

import numpy as np
import pytest
import torch

from mechbench.analyses.patch_sweep import patch_sweep
from mechbench.analyses.patched_cell import patched_cell
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.patched_cell import patched_cell_figure
from tests.analyses.reading_models import bridged, numbers


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_the_change_is_the_sweeps(model, task, direction):
    swept = patch_sweep(model, task, direction=direction, control=False)
    cell = patched_cell(model, task, layer=1, head=1, direction=direction)
    np.testing.assert_allclose(cell.change, swept.summary[:, 1, 1], atol=1e-4)
    base = "clean" if direction == "noise" else "corrupted"
    np.testing.assert_allclose(cell.metric.sel(run=base), swept.base, atol=1e-5)


def test_a_position_of_the_stream_and_attention_further_on(model, task):
    swept = patch_sweep(model, task, site="resid_pre", control=False)
    cell = patched_cell(
        model, task, site="resid_pre", layer=0, position=6, attention_layer=1, prompt=2
    )
    np.testing.assert_allclose(cell.change, swept.summary[:, 0, 6], atol=1e-4)
    pairs = task.pairs()
    for run, tokens in (("clean", pairs.clean), ("corrupted", pairs.corrupt)):
        _, cache = model.run_with_cache(tokens)
        theirs = cache["blocks.1.attn.hook_pattern"][2, 0]
        np.testing.assert_allclose(cell.pattern.sel(run=run), theirs, atol=1e-5)
        logits = model(tokens)[2, task.metric().positions[2, 0]].detach()
        ids = logits.topk(5).indices.tolist()
        assert list(cell.top_token.sel(run=run).values) == [f"#{i}" for i in ids]
        probs = logits.softmax(-1)[ids]
        np.testing.assert_allclose(cell.top_prob.sel(run=run), probs, atol=1e-5)
    patched = cell.pattern.sel(run="patched").values
    clean = cell.pattern.sel(run="clean").values
    np.testing.assert_allclose(patched[:6], clean[:6], atol=1e-6)
    assert abs(patched[6:] - clean[6:]).max() > 1e-4


def test_no_hook_stays(model, task):
    with torch.no_grad():
        before = model(task.clean)
        patched_cell(model, task, layer=0, head=0)
        assert torch.equal(model(task.clean), before)


def test_the_figure(model, task):
    figure = patched_cell_figure(patched_cell(model, task, layer=0, head=1))
    assert [p.title for p in figure.panels[:3]] == ["clean", "corrupted", "patched"]
    assert len(figure.panels[3].rows) == 5 and "[" in figure.caption


def test_bridged_models(tmp_path):
    model = bridged(tmp_path, "Llama")
    cell = patched_cell(model, numbers(model), layer=1, head=0)
    assert cell.pattern is not None and cell.metric.sizes["run"] == 3


def test_refusals(model, task):
    for wrong in ({"layer": 9}, {"prompt": 99}, {"attention_head": 9}, {"n_tokens": 0}):
        with pytest.raises(TaskError):
            patched_cell(model, task, **{"layer": 0, "head": 0, **wrong})
    with pytest.raises(UnsupportedHookError):
        patched_cell(model, task, layer=0, head=9, attention_head=0)
    with pytest.raises(UnsupportedHookError):
        patched_cell(model, task, site="resid_pre", layer=0, position=99)
