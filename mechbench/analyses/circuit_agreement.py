"""How far two circuits agree: shared edges and nodes, and recall in a ranking."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import hypergeom

from mechbench.analyses.common.chosen import scores_of
from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.heads import all_heads
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.sides import Given, Side, ranking, side
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import CircuitError
from mechbench.graphs.agreement import intersection_over_union, recall_at
from mechbench.graphs.selection import RULES, Rank, Rule
from mechbench.graphs.sizes import MIB_SIZES, edges_at
from mechbench.graphs.wiring import wire
from mechbench.results.circuit_agreement import (
    BY_CHANCE,
    EDGES,
    FOUND,
    HEADS,
    NODES,
    CircuitAgreement,
)

_EDGES_BY_DEFAULT = 0.05


def circuit_agreement(
    model,
    task,
    *,
    one: Given | None = None,
    other: Given | None = None,
    n_edges: int | None = None,
    rule: Rule = "greedy",
    rank: Rank = "absolute",
    ks: Sequence[int] | None = None,
    n_positions: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitAgreement:
    """Shared edges, nodes or heads of two circuits beside what random sets would share.

    Args:
        one, other: each a circuit or its file (ours or EAP-IG's), a tested circuit, edge scores, a
            result of ``circuit_search``, head names, or the folder of a published circuit. ``one``
            is by default the scores of EAP-IG, computed here; where it has scores, recall of
            ``other`` in their ranking is given too.
        n_edges, rule, rank: how a circuit is made of scores, by default a twentieth of the edges;
            ``rank`` also orders the ranking.
        ks: lengths of the ranking at which recall is given.
        n_positions: where the circuits' edges belong to positions, how many there are.

    Raises:
        CircuitError: no ``other``, a circuit of another model, or an edge that does not exist.
        UnsupportedHookError: a head that the model does not have.

    Source: intersection over union and recall as is usual; expectations are exact, for sets of the
    same sizes drawn evenly.
    """
    clock = Clock()
    if other is None or rule not in RULES:
        raise CircuitError(
            "circuit_agreement compares two circuits: give other=, such as ['1.0', '1.1'], a "
            f"circuit file or scores (rule={rule!r} is one of {', '.join(RULES)})."
        )
    graph = wire(model, n_positions=n_positions).graph
    size = max(1, edges_at(_EDGES_BY_DEFAULT, graph.n_edges)) if n_edges is None else n_edges
    how: dict[str, Any] = {"n_edges": size, "rule": rule, "rank": rank}
    theirs = side(other, model, graph, **how)
    steps = Steps(1, progress, checkpoint)
    mine = side(
        scores_of(model, task, None, seed=seed) if one is None else one, model, graph, **how
    )
    levels = (EDGES, NODES) if None not in (mine.edges, theirs.edges) else (HEADS,)
    candidates = {
        EDGES: graph.n_edges,
        NODES: len(graph.writers) - 1,
        HEADS: len(all_heads(model)),
    }
    sets = {level: (_members(mine, level), _members(theirs, level)) for level in levels}
    recall = _recall(mine, sets[levels[0]][1], levels[0], rank, candidates[levels[0]], ks)
    steps.finish()
    return CircuitAgreement(
        one=mine.facts,
        other=theirs.facts,
        rank=rank,
        levels=levels,
        members={level: _three(a, b) for level, (a, b) in sets.items()},
        candidates={level: candidates[level] for level in levels},
        iou=_iou(sets, candidates),
        p_value=_p_value(sets, candidates),
        recall=recall,
        recall_level=None if recall is None else levels[0],
        provenance=clock.provenance(model, task, seed=seed),
    )


def _members(of: Side, level: str) -> frozenset[str]:
    members = {EDGES: of.edges, NODES: of.nodes, HEADS: of.heads}[level]
    assert members is not None
    return members


def _three(one: frozenset[str], other: frozenset[str]) -> dict[str, tuple[str, ...]]:
    return {
        "both": tuple(sorted(one & other)),
        "one": tuple(sorted(one - other)),
        "other": tuple(sorted(other - one)),
    }


def _iou(sets, candidates: dict[str, int]) -> xr.DataArray:
    values = []
    for level, (one, other) in sets.items():
        shared = np.arange(min(len(one), len(other)) + 1)
        chance = hypergeom.pmf(shared, candidates[level], len(one), len(other))
        union = np.maximum(len(one) + len(other) - shared, 1)
        expected = float((chance * shared / union).sum()) if one or other else float("nan")
        values.append([intersection_over_union(one, other), expected])
    return labelled(
        np.array(values),
        {"level": list(sets), "kind": [FOUND, BY_CHANCE]},
        units="share",
        meaning="intersection over union",
    )


def _p_value(sets, candidates: dict[str, int]) -> xr.DataArray:
    values = [
        hypergeom.sf(len(one & other) - 1, candidates[level], len(one), len(other))
        for level, (one, other) in sets.items()
    ]
    return labelled(
        np.array(values, dtype=np.float64),
        {"level": list(sets)},
        units="1",
        meaning="chance that random sets of these sizes share as many",
    )


def _recall(
    mine: Side, true: frozenset[str], level: str, rank: str, n: int, ks: Sequence[int] | None
) -> xr.DataArray | None:
    if not mine.scores:
        return None
    ranked = ranking(mine.scores, rank, heads=level == HEADS)
    sizes = {max(1, edges_at(s, n)) for s in MIB_SIZES} | {max(1, len(true))}
    at = sorted(sizes) if ks is None else list(ks)
    if not at or min(at) < 1 or max(at) > n:
        raise CircuitError(f"ks={at} must be from 1 to {n}, the number of {level} of the model.")
    found = [recall_at(ranked, true, k) for k in at]
    return labelled(
        np.array([found, [k / n for k in at]]),
        {"kind": [FOUND, BY_CHANCE], "k": at},
        units="share",
        meaning=f"share of the other circuit's {level} among the first k",
    )
