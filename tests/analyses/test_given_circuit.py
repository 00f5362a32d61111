"""How edges are ordered before a circuit is chosen."""

from dataclasses import replace

import numpy as np
import pytest

from mechbench.analyses.common.given_circuit import chosen_circuit, order_of
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.errors import CircuitError
from mechbench.planted.registry import PLANTED


@pytest.fixture(scope="module")
def scores():
    planted = PLANTED["planted-induction"](n=8)
    return edge_attribution(planted.model, planted.task, method="eap")


def with_intervals(scores, mean, low, high):
    """The same result with other numbers on its first edges and none elsewhere."""
    summary = scores.summary.copy(data=np.zeros_like(scores.summary.values))
    for name, values in (("mean", mean), ("low", low), ("high", high)):
        summary.loc[{"estimate": name}][: len(values)] = values
    return replace(scores, summary=summary, scores=summary.sel(estimate="mean", drop=True))


def test_certain_edges_are_those_whose_interval_stays_away_from_zero(scores):
    given = with_intervals(scores, [5, -3, 2, 1], [-1, -4, 1.5, 0.9], [9, -2, 2.5, 1.1])
    assert order_of(given, "certain")[:5].tolist() == [0, 2, 1.5, 0.9, 0]
    assert order_of(given, "absolute")[:4].tolist() == [5, 3, 2, 1]
    assert order_of(given, "signed")[:4].tolist() == [5, -3, 2, 1]


def test_the_ranking_is_recorded_and_an_unknown_one_refused(scores):
    true = PLANTED["planted-induction"]().edges
    found = chosen_circuit(scores, n=len(true), rule="greedy", rank="certain")
    assert set(found.edges) == true and found.selection["rank"] == "certain"
    with pytest.raises(CircuitError, match="'certian'"):
        chosen_circuit(scores, n=3, rule="top", rank="certian")
