"""Scores of every head, one heat map per kind, and copying."""

import numpy as np

from mechbench.figures.evidence import evidence, layer_by_head, mean_of, provenance_of, shares
from mechbench.figures.spec import Diverging, FigureSpec
from mechbench.results.head_scores import KIND, HeadScores


def head_scores_figure(result: HeadScores, *, control: bool = False) -> FigureSpec:
    """Means by layer and head; with ``control`` the attention on prompts without repetition."""
    scores = mean_of(result.control if control else result.scores)
    panels = [
        layer_by_head(scores.sel({KIND: kind}), str(kind), "attention", colour=shares())
        for kind in scores[KIND].values
    ]
    panels.append(
        layer_by_head(result.copying, "copying (eigenvalues)", "score", colour=Diverging(limit=1.0))
    )
    if result.copied is not None:
        panels.append(
            layer_by_head(
                mean_of(result.copied),
                f"own token in the top {result.n_top}",
                "share of tokens",
                colour=shares(),
            )
        )
    return FigureSpec(
        name="head-scores",
        title="What heads attend to, and whether they copy",
        caption=_caption(result, control),
        panels=tuple(panels),
        columns=3,
        shared_colour=False,
        provenance=provenance_of(result),
    )


def _caption(result: HeadScores, control: bool) -> str:
    highest = mean_of(result.control)
    kinds = [str(kind) for kind in highest[KIND].values]
    controls = ", ".join(
        f"{kind} {_number(highest.sel({KIND: kind}).max())} "
        f"(even attention {_number(result.uniform.sel({KIND: kind}))})"
        for kind in kinds
    )
    about = "corrupted prompts, at the clean prompts' positions" if control else "clean prompts"
    random = ""
    if result.copying_control.size:
        high = float(np.quantile(result.copying_control.values, 0.975))
        random = f" 97.5 % of heads with Gaussian weights score at most {high:.2f}."
    return (
        f"Attention to the token before, to earlier copies of the token, and to what followed "
        f"them ({about}): {result.prompts}. The most that any head reaches on corrupted prompts: "
        f"{controls}. Copying: sum of Re λ over sum of |λ| of W_E W_V W_O W_U.{random} "
        + evidence(result, interval="95 % bootstrap intervals over the scored prompts")
    )


def _number(value) -> str:
    return "–" if np.isnan(value) else f"{float(value):.2f}"
