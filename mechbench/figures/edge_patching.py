"""Exact edge patching: how the scores are spread, and the strongest edges."""

import numpy as np

from mechbench.figures.edge_scores_panels import spread, strongest
from mechbench.figures.evidence import evidence, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec
from mechbench.results.edge_patching import EdgePatching


def edge_patching_figure(result: EdgePatching, *, n_strongest: int = 20) -> FigureSpec:
    """Counts of edges by size of score, and the ``n_strongest`` edges with their intervals."""
    measured = ~np.isnan(result.scores.values)
    summary = result.summary.isel(edge=np.nonzero(measured)[0])
    scores = mean_of(summary).values
    units = result.scores.attrs["units"]
    n_zero = int((scores == 0).sum())
    zero = f" {n_zero:,} scores are exactly zero and left out of the counts." if n_zero else ""
    return FigureSpec(
        name="edge-patching",
        title="Edges, measured one by one",
        caption=(
            f"Fall of {result.metric} ({units}) when one edge carries the corrupted activation "
            f"({result.corruption or 'the task’s corruption'}) and what follows its reader is "
            f"computed anew. Positive edges help. {len(scores):,} of {len(measured):,} edges "
            f"measured.{zero} " + evidence(result)
        ),
        panels=(
            spread(scores, "all measured edges"),
            strongest(summary, n_strongest, "strongest edges", f"score ({units})"),
        ),
        provenance=provenance_of(result),
    )
