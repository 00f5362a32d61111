"""Edge attribution as a result: labels, intervals, what is kept."""

import numpy as np
import pytest

from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.discovery.attribution import attribute_edges
from mechbench.errors import TaskError
from mechbench.figures.edge_attribution import edge_attribution_figure
from mechbench.figures.spec import Bars, Histogram


def test_scores_carry_the_names_of_edges(model, task):
    result = edge_attribution(model, task, method="eap", seed=4)
    found = attribute_edges(model, task.pairs(seed=4), task.metric(), method="eap")
    mean = found.scores.mean(0).numpy()
    assert result.graph().edge_names == tuple(result.scores.edge.values)
    for edge in ("input->a0.h1<q>", "a0.h3->m2", "a1.h0->a2.h3<v>", "m2->logits"):
        np.testing.assert_allclose(
            result.scores.sel(edge=edge), mean[found.graph.edge_index(edge)], rtol=1e-4
        )
    np.testing.assert_array_equal(result.clean, found.clean)
    np.testing.assert_array_equal(result.corrupt, found.corrupt)
    np.testing.assert_allclose(result.per_prompt.mean("prompt"), result.scores, atol=1e-6)
    low, high = (result.summary.sel(estimate=end) for end in ("low", "high"))
    assert bool((low < result.scores).all()) and bool((result.scores < high).all())
    assert not result.exact and result.steps == 1 and result.corruption == "all"
    assert result.scores.attrs["units"] == "logits"
    other = edge_attribution(model, task, method="eap", seed=5)
    assert not np.allclose(other.scores, result.scores)  # other corrupted prompts


def test_per_position_and_without_prompts(model, task, tmp_path):
    options = dict(method="eap-ig-inputs", steps=2, corruption="all")
    whole = edge_attribution(model, task, **options)
    result = edge_attribution(
        model, task, positions=True, keep_prompts=False, checkpoint=tmp_path / "kept", **options
    )
    assert result.per_prompt is None and result.n_positions == 11
    assert result.graph().n_positions == 11 and list((tmp_path / "kept").iterdir())
    names = [name.partition("@")[0] for name in result.scores.edge.values]
    summed = (
        result.scores.assign_coords(edge=names).groupby("edge").sum().sel(edge=whole.scores.edge)
    )
    np.testing.assert_allclose(summed, whole.scores, atol=1e-5)


def test_the_figure_shows_every_edge_and_the_strongest(model, task):
    result = edge_attribution(model, task, method="clean-corrupted")
    spread, strongest = edge_attribution_figure(result, n_strongest=3).panels
    assert isinstance(spread, Histogram) and isinstance(strongest, Bars)
    assert sum(series.values.sum() for series in spread.series) == (result.scores != 0).sum()
    order = np.argsort(-np.abs(result.scores.values))[:3]
    assert strongest.groups == tuple(result.scores.edge.values[order])
    tenth = np.sort(np.abs(result.scores.values))[::-1][round(0.1 * result.scores.size) - 1]
    assert spread.references[2].value == pytest.approx(np.log10(tenth), abs=1e-6)


def test_an_unknown_corruption(model, task):
    with pytest.raises(TaskError, match="none"):
        edge_attribution(model, task, corruption="none")
