"""Node attribution as a result."""

import numpy as np

from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.analyses.node_attribution import node_attribution
from mechbench.figures.node_attribution import node_attribution_figure
from mechbench.figures.spec import Bars, Heatmap


def test_a_node_is_the_sum_of_its_edges(model, task):
    nodes = node_attribution(model, task, steps=2)
    edges = edge_attribution(model, task, method="eap-ig-inputs", steps=2).scores
    writers = [name.partition("->")[0] for name in edges.edge.values]
    summed = edges.assign_coords(edge=writers).groupby("edge").sum().sel(edge=nodes.scores.node)
    np.testing.assert_allclose(nodes.scores, summed, atol=1e-5)
    assert nodes.steps == 2 and nodes.per_prompt.sizes["prompt"] == 5
    np.testing.assert_array_equal(nodes.summary.sel(estimate="mean"), nodes.scores)


def test_the_figure_places_heads_by_layer(model, task):
    result = node_attribution(model, task, method="nap", keep_prompts=False)
    heads, others = node_attribution_figure(result).panels
    assert isinstance(heads, Heatmap) and isinstance(others, Bars)
    assert result.per_prompt is None and result.steps == 1
    assert heads.values[2, 1] == result.scores.sel(node="a2.h1")
    assert others.groups == ("input", "m0", "m1", "m2")
    assert others.series[0].values[3] == result.scores.sel(node="m2")
