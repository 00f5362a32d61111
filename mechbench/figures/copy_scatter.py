"""Attention to a letter against the logit written for it, one panel per head."""

from mechbench.figures.evidence import evidence, mean_of, provenance_of
from mechbench.figures.spec import FigureSpec, Fit, Points
from mechbench.results.copy_scatter import CopyScatter
from mechbench.shapes import ANSWER, HEAD, PROMPT


def copy_scatter_figure(result: CopyScatter, *, columns: int = 2) -> FigureSpec:
    """Points of all prompts and letters, coloured by word, with the fitted line."""
    panels, controls = [], []
    for head in result.heads:
        at = {HEAD: head}
        x, y = (
            v.sel(at).stack(point=("word", ANSWER, PROMPT))
            for v in (result.attention, result.written)
        )
        slope, intercept, r = (
            float(mean_of(v).sel(at)) for v in (result.slope, result.intercept, result.correlation)
        )
        controls.append(f"{head} {float(mean_of(result.correlation_control).sel(at)):.2f}")
        label = f"slope {slope:.2f}, r = {r:.2f}"
        panels.append(
            Points(
                x=x.values,
                y=y.values,
                groups=tuple(f"letter of {word}" for word, _, _ in x["point"].values),
                fits=(Fit(slope=slope, intercept=intercept, label="fit"),),
                title=f"{head}: {label}",
                x_title="attention to C_j",
                y_title="logit written for letter j",
            )
        )
    return FigureSpec(
        name="copy-scatter",
        title="Do heads write what they attend to?",
        caption=(
            "Each point is one prompt, one predicting position and one word: attention to C_j "
            "against (z W_O W_U) of letter j, before the final norm's division and counted from "
            "the vocabulary's mean. A line means copying. Correlation with the letters of another "
            f"prompt instead: {', '.join(controls)}. "
            + evidence(
                result,
                interval="95 % bootstrap intervals of slope and r over prompts are in the result",
            )
        ),
        panels=tuple(panels),
        columns=columns,
        provenance=provenance_of(result),
    )
