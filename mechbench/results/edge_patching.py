"""Result of exact edge patching."""

from dataclasses import dataclass

from mechbench.results.edge_scores import EdgeScores


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgePatching(EdgeScores):
    """Edge scores that were measured one by one; always ``exact``.

    ``measured`` names the edges that were asked for, None where all were. The scores of the others
    are NaN: not measured. Rules that choose a circuit from scores refuse them.
    """

    measured: tuple[str, ...] | None
