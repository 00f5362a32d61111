"""How far two circuits agree."""

from collections.abc import Iterable, Sequence


def intersection_over_union(one: Iterable[str], other: Iterable[str]) -> float:
    """Shared edges (or nodes) over all edges of both; 1 for equal sets, NaN for two empty ones."""
    a, b = set(one), set(other)
    return len(a & b) / len(a | b) if a | b else float("nan")


def recall_at(ranked: Sequence[str], true: Iterable[str], k: int) -> float:
    """The share of ``true`` among the first ``k`` of ``ranked``; NaN where nothing is true."""
    wanted = set(true)
    return len(wanted & set(ranked[:k])) / len(wanted) if wanted else float("nan")
