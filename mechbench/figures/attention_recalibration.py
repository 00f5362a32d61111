"""Swapped attention: accuracy by number of heads, beside controls, and the heads themselves."""

import numpy as np

from mechbench.figures.choices import DEFINITION
from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Lines
from mechbench.results.attention_recalibration import (
    HEADS,
    LABELS_SWAPPED,
    SWAP,
    AttentionRecalibration,
)
from mechbench.results.choice_heads import PLACE
from mechbench.results.choices import (
    ACCURACY,
    ANSWERED_FIRST,
    ANY_TOKEN,
    ARGMAX,
    ARGMAXES,
    FAILING,
    ITEMS,
    MEASURE,
)

_UNIT = (0.0, 1.0)


def attention_recalibration_figure(result: AttentionRecalibration) -> FigureSpec:
    """Accuracy and bias of failing prompts, accuracy of all, and what the heads attend to."""
    counts = ", ".join(f"{int(result.n.sel({ITEMS: i}))} {i}" for i in result.n[ITEMS].values)
    how = (
        f"chosen on {result.n_calibration} other failing prompts by the direct gap that they bring "
        "from the first label"
        if result.chosen
        else "as given"
    )
    what = "label" if result.at == "label" else "end of the option"
    panels = [_lines(result, FAILING, ACCURACY, argmax) for argmax in ARGMAXES]
    panels += [_lines(result, FAILING, ANSWERED_FIRST, ANY_TOKEN)]
    panels += [_lines(result, "all", ACCURACY, argmax) for argmax in ARGMAXES]
    return FigureSpec(
        name="attention-recalibration",
        title="Exchanging attention between the first and the right label",
        caption=(
            f"At the last position heads exchange their weights on the first and the right label "
            f"(positions of the {what}); heads {how}: {', '.join(result.heads)}. "
            f"{result.statement} {DEFINITION} Test prompts: {counts}. Controls: as many random "
            f"heads ({result.n_random} draws), and two other random positions in the same heads. "
            + evidence(result)
        ),
        panels=(*panels, _attention(result)),
        columns=2,
        provenance=provenance_of(result),
    )


def _lines(result: AttentionRecalibration, items: str, measure: str, argmax: str) -> Lines:
    values = result.rates.sel({MEASURE: measure, ARGMAX: argmax, ITEMS: items})
    return Lines(
        x=np.asarray(values[HEADS].values),
        x_labels=tuple(str(n) for n in values[HEADS].values),
        series=tuple(
            series(values.sel({SWAP: swap}), str(swap), dashed=swap != LABELS_SWAPPED)
            for swap in values[SWAP].values
        ),
        title=f"{items}: {measure}, {argmax}",
        x_title="heads swapped",
        y_title="share",
        y_limits=_UNIT,
        markers=True,
    )


def _attention(result: AttentionRecalibration) -> Bars:
    return Bars(
        groups=tuple(str(head) for head in result.attention[HEADS].values),
        series=tuple(
            series(result.attention.sel({PLACE: place}), str(place))
            for place in result.attention[PLACE].values
        ),
        title="attention of failing prompts",
        x_title="head",
        y_title="weight",
    )
