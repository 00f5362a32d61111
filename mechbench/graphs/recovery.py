"""How well scores find edges that are known to be the circuit."""

from collections.abc import Sequence

import numpy as np

from mechbench.errors import CircuitError
from mechbench.graphs.selection import Rank, select
from mechbench.graphs.sizes import MIB_SIZES, check_sizes, edges_at
from mechbench.graphs.topology import Graph


def auroc(scores: np.ndarray, true: np.ndarray) -> float:
    """The probability that a true edge scores above another one, ties counting one half.

    Args:
        scores: one per edge, in the order of ``graph.edge_names``. Take the absolute value first
            where edges that oppose the metric count as found.
        true: bool, one per edge.

    NaN where every edge is true, or none.

    Raises:
        CircuitError: arrays that do not fit together, or scores that are not finite.

    Source: the Mann-Whitney form of the area under the ROC curve, with mid-ranks.
    """
    _check(scores, true)
    n_true = int(true.sum())
    n_false = len(true) - n_true
    if not n_true or not n_false:
        return float("nan")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mid_ranks = (last - (counts - 1) / 2)[group]
    above = mid_ranks[true].sum() - n_true * (n_true + 1) / 2
    return float(above / (n_true * n_false))


def auroc_at_sizes(
    graph: Graph,
    scores: np.ndarray,
    true: np.ndarray,
    *,
    rank: Rank = "absolute",
    sizes: Sequence[float] = MIB_SIZES,
) -> float:
    """The area under the ROC curve through the greedy circuits of a few sizes.

    The curve starts at (0, 0) and joins (false positive rate, true positive rate) of the pruned
    greedy circuit of each size. It is coarser than :func:`auroc`, and depends on the graph. NaN
    where every edge is true, or none.

    Raises:
        CircuitError: as :func:`auroc`, or sizes that do not grow.

    Source: MIB (Mueller et al. 2025) for InterpBench; the start at (0, 0) is our choice. Every edge
    of the graph counts, those that the greedy circuit does not hold as negatives.
    """
    _check(scores, true)
    if not true.any() or true.all():
        return float("nan")
    points = [(0.0, 0.0)]
    for size in check_sizes(sizes):
        n = edges_at(float(size), graph.n_edges)
        chosen = graph.values(select(graph, scores, rule="greedy", n=n, rank=rank).mask)
        points.append((float(chosen[~true].mean()), float(chosen[true].mean())))
    x, y = np.array(sorted(points)).T
    return float(np.trapezoid(y, x))


def exact_recovery(scores: np.ndarray, true: np.ndarray) -> bool:
    """Whether the highest scores, as many as there are true edges, are the true edges.

    A tie between a true edge and another one is no recovery.

    Raises:
        CircuitError: as :func:`auroc`.
    """
    _check(scores, true)
    if not true.any() or true.all():
        return True
    return bool(scores[true].min() > scores[~true].max())


def _check(scores: np.ndarray, true: np.ndarray) -> None:
    if scores.ndim != 1 or scores.shape != true.shape or true.dtype != np.bool_:
        raise CircuitError(
            f"scores {list(scores.shape)} and true edges {list(true.shape)} ({true.dtype}) must "
            "both hold one value per edge, and the latter must be bool."
        )
    if not np.isfinite(scores).all():
        raise CircuitError("Some scores are NaN or infinite, so edges cannot be ranked.")
