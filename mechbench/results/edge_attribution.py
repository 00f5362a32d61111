"""What edge attribution finds."""

from dataclasses import dataclass

from mechbench.results.edge_scores import EdgeScores


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgeAttribution(EdgeScores):
    """Edge scores estimated from gradients; never ``exact``.

    ``steps`` is how many gradients each estimate is the mean of: 1 for ``"eap"``, 2 for
    ``"clean-corrupted"``.
    """

    steps: int
