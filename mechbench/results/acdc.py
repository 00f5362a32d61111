"""Result of ACDC."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.edge_scores import EdgeScores

COMPARISONS = ("metric", "kl")


@dataclass(frozen=True, kw_only=True, eq=False)
class Acdc(EdgeScores):
    """The edges that ACDC kept, and what each test of an edge measured.

    A score is how much the metric fell when the edge was taken out of the circuit of that moment,
    from which weaker edges nearer to the logits were already gone; 0 for an edge that had no path
    to the logits left or carries the same in both runs. With ``compare="kl"`` the metric is minus
    KL(whole model || circuit) in nats, ``clean`` is 0 and a score is the rise of the divergence.

    ``kept`` names the circuit's edges, ``n_tests`` says how many were measured. ``circuit``
    (prompt) is the metric with only the kept edges intact, and ``random`` (draw prompt) that of
    random sets of as many edges.
    """

    threshold: float
    compare: str
    kept: tuple[str, ...]
    n_tests: int
    circuit: xr.DataArray
    random: xr.DataArray
