"""Edge attribution: how the scores are spread, and the strongest edges."""

import numpy as np

from mechbench.figures.edge_scores_panels import spread, strongest
from mechbench.figures.evidence import evidence, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec, Reference
from mechbench.results.edge_attribution import EdgeAttribution

_SIZES = (0.001, 0.01, 0.1)  # three of the ten circuit sizes of Mueller et al. 2025


def edge_attribution_figure(result: EdgeAttribution, *, n_strongest: int = 20) -> FigureSpec:
    """Counts of edges by size of score, and the ``n_strongest`` edges with their intervals."""
    scores = mean_of(result.summary).values
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
        panels=(
            spread(scores, "all edges", _reached(scores)),
            strongest(
                result.summary,
                n_strongest,
                "strongest edges",
                f"score ({result.scores.attrs['units']})",
            ),
        ),
        provenance=provenance_of(result),
    )


def _reached(scores: np.ndarray) -> tuple[Reference, ...]:
    """What the strongest edges of three circuit sizes reach."""
    sizes = np.sort(np.abs(scores))[::-1]
    ends = [sizes[max(round(share * len(sizes)), 1) - 1] for share in _SIZES]
    return tuple(
        Reference(
            value=float(np.log10(end)), label="" if i else "strongest 0.1, 1 and 10 %", axis="x"
        )
        for i, end in enumerate(ends)
        if end != 0
    )
