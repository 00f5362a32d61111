"""The analysis of ACDC: what it stores beside the search itself."""

import numpy as np
import pytest

from mechbench.analyses.acdc import acdc
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.errors import CircuitError, TaskError
from mechbench.figures.acdc import acdc_figure
from mechbench.graphs.wiring import wire


def test_the_circuit_is_evaluated_beside_random_ones(planted, make_task):
    task = make_task(n=6)
    result = acdc(planted, task, threshold=0.3, n_random=5, seed=3)
    graph = result.graph()
    mask = graph.mask(result.kept)
    assert 0 < mask.sum() < graph.n_edges and result.exact
    pairs = task.pairs(seed=3)
    forward = CircuitForward(planted, wire(planted), pairs, task.metric())
    np.testing.assert_allclose(result.circuit, forward(mask).mean(-1), atol=1e-5)
    assert result.random.dims == ("draw", "prompt") and result.random.shape == (5, 6)
    assert float(result.circuit.mean()) > float(result.random.mean()) + 1
    np.testing.assert_allclose(result.corrupt, forward.ablated.mean(-1), atol=1e-5)
    kept = result.scores.sel(edge=list(result.kept)).values
    assert (abs(kept) > 0.3).all()
    rest = result.scores.drop_sel(edge=list(result.kept)).values
    assert (abs(rest) <= 0.3).all()


def test_divergence_is_zero_for_the_model_and_its_rises_are_positive(planted, make_task):
    result = acdc(planted, make_task(n=6), threshold=0.05, compare="kl", n_random=2)
    assert abs(result.clean).max() < 1e-5 and (result.corrupt < -0.1).all()
    assert result.scores.attrs["units"] == "nats" and result.metric == "negative_kl"
    assert (result.scores.sel(edge=list(result.kept)) > 0.05).all()
    assert float(result.circuit.mean()) > float(result.corrupt.mean())


def test_an_edge_whose_removal_lowers_the_divergence_is_taken_out(model, task):
    result = acdc(model, task, threshold=1e-4, compare="kl", n_random=1)
    assert (result.scores < -1e-4).any()
    assert (result.scores.sel(edge=list(result.kept)) > 1e-4).all()


def test_a_threshold_that_keeps_nothing_is_drawn(planted, make_task):
    result = acdc(planted, make_task(n=4), threshold=1e6, n_random=2)
    assert result.kept == ()
    np.testing.assert_allclose(result.circuit, result.corrupt, atol=1e-5)
    assert len(acdc_figure(result).panels) == 1


def test_goes_on_from_its_folder(planted, make_task, tmp_path):
    task, options = make_task(n=4), {"threshold": 0.3, "n_random": 2, "checkpoint": tmp_path}

    def stop(done, of):
        if done > of // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acdc(planted, task, progress=stop, **options)
    seen = []
    result = acdc(planted, task, progress=lambda *at: seen.append(at), **options)
    assert seen[0][0] > seen[0][1] // 3
    assert result.kept == acdc(planted, task, threshold=0.3, n_random=2).kept


def test_what_it_refuses(model, task):
    with pytest.raises(TaskError, match="compare='KL'"):
        acdc(model, task, compare="KL")
    with pytest.raises(CircuitError, match="0 or above"):
        acdc(model, task, threshold=-0.1)
    with pytest.raises(TaskError, match="n_random=0"):
        acdc(model, task, n_random=0)
