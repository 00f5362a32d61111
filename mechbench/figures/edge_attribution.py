"""Edge attribution: how the scores are spread, and the strongest edges."""

import numpy as np

from mechbench.figures.evidence import evidence, mean_of, provenance_of
from mechbench.figures.spec import Bars, FigureSpec, Histogram, Reference, Series
from mechbench.results.edge_attribution import EdgeAttribution

_SIZES = (0.001, 0.01, 0.1)  # three of the ten circuit sizes of Mueller et al. 2025
_N_BINS = 40


def edge_attribution_figure(result: EdgeAttribution, *, n_strongest: int = 20) -> FigureSpec:
    """Counts of edges by size of score, and the ``n_strongest`` edges with their intervals."""
    scores = mean_of(result.summary).values
    order = np.argsort(-np.abs(scores), kind="stable")
    n_zero = int((scores == 0).sum())
    zero = f" {n_zero:,} scores are exactly zero and left out above." if n_zero else ""
    gradients = "1 gradient" if result.steps == 1 else f"{result.steps} gradients"
    return FigureSpec(
        name="edge-attribution",
        title=f"Edges by {result.method}",
        caption=(
            f"Estimated fall of {result.metric} ({result.scores.attrs['units']}) when an edge "
            f"carries the corrupted activation ({result.corruption or 'the task’s corruption'}), "
            f"by {result.method} with {gradients} per prompt: an approximation. Positive edges "
            f"help. {len(scores):,} edges; dashed, from the right, what the strongest 0.1, 1 and "
            f"10 % of them reach.{zero} " + evidence(result)
        ),
        panels=(_spread(scores, order), _strongest(result, order[:n_strongest])),
        provenance=provenance_of(result),
    )


def _spread(scores: np.ndarray, order: np.ndarray) -> Histogram:
    size = np.log10(np.abs(scores[scores != 0]))
    low, high = (size.min(), size.max()) if size.size else (0.0, 1.0)
    edges = np.linspace(low, max(high, low + 1e-3), _N_BINS + 1)
    series = tuple(
        Series(label=label, values=np.histogram(np.log10(np.abs(part)), edges)[0])
        for label, part in (("helps", scores[scores > 0]), ("opposes", scores[scores < 0]))
    )
    ends = [scores[order[max(round(share * len(scores)), 1) - 1]] for share in _SIZES]
    return Histogram(
        edges=edges,
        series=series,
        references=tuple(
            Reference(
                value=float(np.log10(abs(end))),
                label="" if i else "strongest 0.1, 1 and 10 %",
                axis="x",
            )
            for i, end in enumerate(ends)
            if end != 0
        ),
        title="all edges",
        x_title="log₁₀ |score|",
        y_title="edges",
    )


def _strongest(result: EdgeAttribution, chosen: np.ndarray) -> Bars:
    top = result.summary.isel(edge=chosen)
    mean, low, high = (top.sel(estimate=e).values for e in ("mean", "low", "high"))
    return Bars(
        groups=tuple(top["edge"].values.tolist()),
        series=(Series(label="score", values=mean, low=low, high=high),),
        title="strongest edges",
        x_title="writer -> reader",
        y_title=f"score ({result.scores.attrs['units']})",
    )
