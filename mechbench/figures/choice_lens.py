"""Gaps between first and right label by layer, by lens and directly, beside their controls."""

import numpy as np

from mechbench.figures.choices import DEFINITION
from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import FigureSpec, Lines, Reference
from mechbench.results.choice_lens import PART, ChoiceLens
from mechbench.results.choices import DIRECT, LENS, READING
from mechbench.shapes import LAYER

_TITLES = {LENS: "by logit lens", DIRECT: "part of the run's gap"}


def choice_lens_figure(result: ChoiceLens) -> FigureSpec:
    """A panel for each part and reading."""
    parts = [str(part) for part in result.gap[PART].values]
    return FigureSpec(
        name="choice-lens",
        title="What layers write for the first label and against the right one",
        caption=(
            f"Gap logit(first label) - logit(right label) of what each layer's MLP and attention "
            f"write at the last position of {result.n_items} {result.items} prompts. {DEFINITION} "
            "By logit lens: the vector alone through final norm and unembedding, normalised by its "
            "own size, so layers do not add up. Part of the run's gap: with the final norm's "
            f"divisor of the run; the whole gap is {float(mean_of(result.total)):.2f} logits. "
            "Controls: the gap against another prompt's right label, and that of "
            f"{result.n_others} other prompts whose right option is a later one. "
            + evidence(result)
        ),
        panels=tuple(_panel(result, part, reading) for part in parts for reading in _TITLES),
        columns=2,
        provenance=provenance_of(result),
    )


def _panel(result: ChoiceLens, part: str, reading: str) -> Lines:
    at = {PART: part, READING: reading}
    lines = [
        series(result.gap.sel(at), result.items),
        series(result.permuted.sel(at), "another's right label", dashed=True),
    ]
    if result.not_failing is not None:
        lines.append(series(result.not_failing.sel(at), "other prompts", dashed=True))
    layers = result.gap[LAYER].values
    return Lines(
        x=np.asarray(layers),
        x_labels=tuple(str(layer) for layer in layers),
        series=tuple(lines),
        references=(Reference(value=0.0),),
        title=f"{part}, {_TITLES[reading]}",
        x_title="layer",
        y_title="gap (logits)",
        markers=True,
    )
