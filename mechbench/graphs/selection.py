"""Choosing a circuit from scores: the n best edges, greedily from the logits, or by a threshold."""

import heapq
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mechbench.errors import CircuitError
from mechbench.graphs.topology import LOGITS, Graph

Rule = Literal["top", "greedy", "threshold"]
Rank = Literal["signed", "absolute"]
RULES, RANKS = ("top", "greedy", "threshold"), ("signed", "absolute")


@dataclass(frozen=True, eq=False)
class Selected:
    """A chosen set of edges.

    Attributes:
        mask: in the shape of ``graph.exists``.
        rule: everything that decided it, JSON-able.
    """

    mask: np.ndarray
    rule: dict[str, Any]

    @property
    def n_edges(self) -> int:
        return int(self.mask.sum())


def select(
    graph: Graph,
    scores: np.ndarray,
    *,
    rule: Rule = "top",
    n: int | None = None,
    threshold: float | None = None,
    rank: Rank = "absolute",
    prune: bool = True,
) -> Selected:
    """The circuit that a rule makes of scores.

    Args:
        scores: one per edge, in the order of ``graph.edge_names``.
        rule: ``"top"``, the ``n`` best edges; ``"greedy"``, the best ``n`` that grow backwards from
            the logits, each joined to what is there; ``"threshold"``, all at or above
            ``threshold``.
        rank: by the score itself, so that edges which oppose the metric come last, or by its
            absolute value. MIB's CPR seems to be of signed, its CMD of absolute ranking.
        prune: leave out edges that do not lie on a path from the input to the logits. The number
            that remains is then smaller than ``n``.

    Raises:
        CircuitError: an unknown rule or rank, a missing or impossible ``n`` or ``threshold``, or
            scores that are not one finite number per edge.

    Source: the rules of Hanna et al. 2024; ties go to the earlier edge (our choice).
    """
    _check(graph, scores, rule, rank, n, threshold)
    ranked = np.abs(scores) if rank == "absolute" else scores
    if rule == "threshold":
        chosen = ranked >= threshold
    elif rule == "top":
        chosen = np.zeros(len(scores), dtype=bool)
        chosen[np.argsort(-ranked, kind="stable")[:n]] = True
    else:
        chosen = _greedy(graph, ranked, n or 0)
    mask = np.zeros(graph.exists.shape, dtype=bool)
    mask[tuple(i[chosen] for i in graph.edge_indices)] = True
    if prune:
        mask = pruned(graph, mask)
    options = {"n": n} if rule != "threshold" else {"threshold": threshold}
    facts = {"rule": rule, **options, "rank": rank, "prune": prune}
    return Selected(mask, {**facts, "n_edges": int(mask.sum())})


def pruned(graph: Graph, mask: np.ndarray) -> np.ndarray:
    """The edges of ``mask`` that lie on a path from the input to the logits.

    With positions, a path may leave a head at another position than it entered.
    """
    flat = mask if mask.ndim == 2 else np.asarray(mask.any(0))
    forward = np.zeros(len(graph.writers), dtype=bool)  # reached from the input
    forward[0] = True
    for reader in range(len(graph.readers)):
        if (flat[:, reader] & forward).any():
            forward |= graph.feeding[reader]
    backward = np.zeros(len(graph.writers), dtype=bool)  # reaches the logits
    for reader in reversed(range(len(graph.readers))):
        if graph.readers[reader].name == LOGITS or (graph.feeding[reader] & backward).any():
            backward |= flat[:, reader]
    into = np.array([r.name == LOGITS for r in graph.readers]) | (graph.feeding @ backward)
    return mask & forward[:, None] & into


def _greedy(graph: Graph, ranked: np.ndarray, n: int) -> np.ndarray:
    """Best first among the edges into the logits and into the nodes that are already joined."""
    *_, at_writer, at_reader = graph.edge_indices
    incoming: list[list[int]] = [[] for _ in graph.readers]
    for edge, reader in enumerate(at_reader.tolist()):
        incoming[reader].append(edge)
    chosen = np.zeros(len(ranked), dtype=bool)
    joined = np.zeros(len(graph.writers), dtype=bool)
    opened = np.zeros(len(graph.readers), dtype=bool)
    heap: list[tuple[float, int]] = []

    def open_reader(reader: int) -> None:
        if not opened[reader]:
            opened[reader] = True
            for edge in incoming[reader]:
                heapq.heappush(heap, (-float(ranked[edge]), edge))

    open_reader(len(graph.readers) - 1)
    for _ in range(n):
        if not heap:
            break
        _, edge = heapq.heappop(heap)
        chosen[edge] = True
        writer = int(at_writer[edge])
        if not joined[writer]:
            joined[writer] = True
            for reader in np.nonzero(graph.feeding[:, writer])[0]:
                open_reader(int(reader))
    return chosen


def _check(graph: Graph, scores: np.ndarray, rule, rank, n, threshold) -> None:
    if rule not in RULES:
        raise CircuitError(f"rule={rule!r} is not known: use {', '.join(RULES)}.")
    if rank not in RANKS:
        raise CircuitError(f"rank={rank!r} is not known: use {', '.join(RANKS)}.")
    if scores.shape != (graph.n_edges,):
        raise CircuitError(
            f"There are {list(scores.shape)} scores for {graph.n_edges} edges: give one per edge."
        )
    if not np.isfinite(scores).all():
        raise CircuitError("Some scores are NaN or infinite, so edges cannot be ranked.")
    if rule == "threshold":
        if threshold is None:
            raise CircuitError("rule='threshold' needs a threshold.")
    elif n is None or not 0 <= n <= graph.n_edges:
        raise CircuitError(f"rule={rule!r} needs n from 0 to {graph.n_edges}, got {n}.")
