"""OV circuits between letters: the four blocks, every head's score, and the control."""

import numpy as np

from mechbench.figures.evidence import (
    evidence,
    layer_by_head,
    letter_block,
    provenance_of,
    series,
    shares,
)
from mechbench.figures.spec import Bars, FigureSpec, Reference
from mechbench.results.ov_copying import TOGETHER, OVCopying


def ov_copying_figure(result: OVCopying, *, member: str = TOGETHER) -> FigureSpec:
    """The 26 x 26 blocks of one head, or of the sum, with diagonal scores."""
    panels = []
    for source in result.blocks["source"].values:
        for target in result.blocks["target"].values:
            at = {"source": source, "target": target, "member": member}
            hits = int(result.hits.sel(at).sum())
            title = f"{_drawn(source)} → {_drawn(target)}: {hits}/26"
            panels.append(letter_block(result.blocks.sel(at), title))
    path = {"source": "␠X", "target": "X"}
    members = tuple(str(m) for m in result.score["member"].values)
    random = float(result.control.sel(path).mean())
    panels.append(
        layer_by_head(
            result.head_scores.sel(path), "every head, ·X → X", "diagonal score", colour=shares()
        )
    )
    panels.append(
        Bars(
            groups=members,
            series=(series(result.score.sel(path), "·X → X"),),
            references=(Reference(value=random, label="random heads, summed"),),
            title="share of letters copied, ·X → X",
            x_title="head",
            y_title="diagonal score",
            y_limits=(0.0, 1.0),
        )
    )
    high = float(np.quantile(result.control.sel(path).values, 0.975))
    return FigureSpec(
        name="ov-copying",
        title=f"OV circuit between letters: {member} ({', '.join(result.heads)})",
        caption=(
            "W_V W_O between letters (·X has a space before it), "
            f"from {result.embedding} to W_U; {result.layer_norm}. "
            "Outlined is the largest entry of each row, and the title counts rows where it is on "
            f"the diagonal. {result.control.sizes['draw']} random sets of "
            f"{len(result.heads)} heads score {random:.2f} on average, 97.5 % of them at most "
            f"{high:.2f}. Weights only. "
            + evidence(result, interval="95 % bootstrap intervals over the 26 letters")
        ),
        panels=tuple(panels),
        columns=2,
        shared_colour=False,
        provenance=provenance_of(result),
    )


def _drawn(kind: str) -> str:
    """Fonts of papers lack the sign for a space."""
    return str(kind).replace("␠", "·")
