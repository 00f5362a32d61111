"""The analysis of exact edges: what it stores, which edges, and what it refuses."""

import numpy as np
import pytest

from mechbench.analyses.edge_patching import edge_patching
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.errors import CircuitError, TaskError
from mechbench.figures.edge_patching import edge_patching_figure
from mechbench.graphs.selection import select
from mechbench.graphs.wiring import wire

EDGES = ["m2->logits", "a0.h1->a2.h3<v>", "m0->m1"]


def test_the_rest_is_not_measured_and_cannot_be_ranked(model, task):
    some = edge_patching(model, task, edges=EDGES, seed=2)
    every = edge_patching(model, task, seed=2)
    assert every.measured is None and every.exact and some.measured == tuple(EDGES)
    assert int(some.scores.notnull().sum()) == 3 and not every.scores.isnull().any()
    for name in EDGES:
        np.testing.assert_allclose(
            some.per_prompt.sel(edge=name), every.per_prompt.sel(edge=name), atol=1e-6
        )
    select(every.graph(), every.scores.values, n=5)
    with pytest.raises(CircuitError, match="NaN"):
        select(some.graph(), some.scores.values, n=5)
    assert "3 of " in edge_patching_figure(some).caption
    assert some.summary.sel(estimate="low", edge=EDGES[0]) <= some.scores.sel(edge=EDGES[0])


def test_an_edge_into_the_logits_is_a_circuit_without_it(model, task):
    """The logits are the last reader, so ablating one edge there is all that happens."""
    result = edge_patching(model, task, edges=["a1.h2->logits"], seed=4)
    pairs, metric, wiring = task.pairs(seed=4), task.metric(), wire(model)
    mask = wiring.graph.exists & ~wiring.graph.mask(["a1.h2->logits"])
    without = CircuitForward(model, wiring, pairs, metric)(mask).mean(-1)
    fall = result.clean.values - without.numpy()
    np.testing.assert_allclose(result.per_prompt.sel(edge="a1.h2->logits"), fall, atol=1e-5)
    assert abs(fall).max() > 1e-3


def test_positions_have_an_edge_each(model, task):
    names = [f"input->m0@{p}" for p in range(11)]
    result = edge_patching(model, task, edges=names, positions=True)
    assert result.n_positions == 11
    changed = (task.pairs().clean != task.pairs().corrupt).any(0).numpy()
    found = result.per_prompt.sel(edge=names).values
    assert not found[:, ~changed].any() and (abs(found[:, changed]).max(0) > 0).any()


def test_progress_counts_every_edge_and_finished_chunks_are_kept(model, task, tmp_path):
    seen = []
    options = {"seed": 1, "checkpoint": tmp_path}
    first = edge_patching(model, task, progress=lambda *at: seen.append(at), **options)
    done = [d for d, _ in seen]
    assert done == sorted(done) and seen[-1] == (first.scores.size, first.scores.size)
    assert list(tmp_path.iterdir())
    again = edge_patching(model, task, **options)
    np.testing.assert_array_equal(first.scores.values, again.scores.values)


def test_what_it_refuses(model, task, make_task):
    with pytest.raises(CircuitError, match="no writer 'a9.h0'"):
        edge_patching(model, task, edges=["a9.h0->logits"])
    with pytest.raises(TaskError, match="at least 2"):
        edge_patching(model, make_task(n=1))
    model.ln_final.w.data.zero_()
    model.ln_final.b.data.zero_()
    with pytest.raises(TaskError, match="same on the clean and the corrupted"):
        edge_patching(model, task)
