"""Edits of value vectors: the lambda2 curve, every control, single neurons, and confusions."""

import numpy as np

from mechbench.figures.choices import DEFINITION, confusion_panel
from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Heatmap, Lines
from mechbench.results.choices import (
    ACCURACY,
    ANSWERED_FIRST,
    ANY_TOKEN,
    ARGMAX,
    ARGMAXES,
    EDIT,
    FAILING,
    ITEMS,
    MEASURE,
    NO_EDIT,
    NOTHING_ADDED,
    RIGHT_LABEL,
)
from mechbench.results.value_vector_update import EDITED, LAMBDA2, TOGETHER, ValueVectorUpdate

_UNIT = (0.0, 1.0)
_MOST_LINES = 6


def value_vector_update_figure(result: ValueVectorUpdate) -> FigureSpec:
    """Curves, controls by both argmaxes, a table of single neurons, confusions before and after."""
    return FigureSpec(
        name="value-vector-update",
        title="Rewriting the value vectors that say the first label",
        caption=_caption(result),
        panels=(
            _curve(result),
            _neurons(result),
            *(_controls(result, argmax) for argmax in ARGMAXES),
            _first_label(result),
            *(_confusion(result, edit) for edit in (NO_EDIT, RIGHT_LABEL, NOTHING_ADDED)),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _curve(result: ValueVectorUpdate) -> Lines:
    values = result.curve.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN, ITEMS: FAILING})
    groups = [*result.neurons[: _MOST_LINES - 1], TOGETHER]
    return Lines(
        x=np.asarray(values[LAMBDA2].values),
        series=tuple(series(values.sel({EDITED: g}), g, dashed=g == TOGETHER) for g in groups),
        title="right-label edit, failing prompts",
        x_title="λ2",
        y_title="accuracy",
        y_limits=_UNIT,
        markers=True,
    )


def _controls(result: ValueVectorUpdate, argmax: str) -> Bars:
    values = result.rates.sel({MEASURE: ACCURACY, ARGMAX: argmax, EDITED: TOGETHER})
    return Bars(
        groups=tuple(_marked(result, str(edit)) for edit in values[EDIT].values),
        series=tuple(
            series(values.sel({ITEMS: items}), f"{items} ({_n(result, items)})")
            for items in values[ITEMS].values
        ),
        title=f"all neurons together, {argmax}",
        y_title="accuracy",
        y_limits=_UNIT,
    )


def _first_label(result: ValueVectorUpdate) -> Bars:
    values = result.rates.sel({MEASURE: ANSWERED_FIRST, EDITED: TOGETHER, ITEMS: FAILING})
    return Bars(
        groups=tuple(_marked(result, str(edit)) for edit in values[EDIT].values),
        series=tuple(series(values.sel({ARGMAX: a}), a) for a in ARGMAXES),
        title="still the first label, failing prompts",
        y_title="share",
        y_limits=_UNIT,
    )


def _confusion(result: ValueVectorUpdate, edit: str) -> Heatmap:
    share = mean_of(result.confusion.sel({EDIT: edit, ARGMAX: ANY_TOKEN}))
    return confusion_panel(share, f"answers, {_marked(result, edit)}")


def _neurons(result: ValueVectorUpdate) -> Bars:
    values = result.rates.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN, ITEMS: FAILING})
    values = values.isel({EDIT: slice(1, None)})
    return Bars(
        groups=tuple(_marked(result, str(edit)) for edit in values[EDIT].values),
        series=tuple(series(values.sel({EDITED: n}), n) for n in result.neurons),
        title="one neuron at a time, failing prompts",
        y_title="accuracy",
        y_limits=_UNIT,
    )


def _marked(result: ValueVectorUpdate, edit: str) -> str:
    return f"{edit} *" if result.uses_right_label[edit] else edit


def _n(result: ValueVectorUpdate, items: str) -> int:
    return int(result.n.sel({ITEMS: items}))


def _caption(result: ValueVectorUpdate) -> str:
    restored = "was restored bit for bit" if result.restored else "WAS NOT RESTORED"
    return (
        f"v ← v - λ1 W_U[first label] + λ2 W_U[target], λ1 = {result.lambda1:g} and "
        f"λ2 = {result.lambda2:g}, for the value vectors of {', '.join(result.neurons)}. "
        f"* uses each prompt's right label. {result.statement} {DEFINITION} Accuracy on failing "
        "prompts is 0 without an edit by construction (any token). Controls: nothing added, one "
        "later label for all prompts, the mean of the later labels offered, and the right label on "
        f"as many random active neurons of the same layers ({result.n_random} draws). Confusions: "
        "shares of answers by right option, all prompts, all neurons together. Written into the "
        f"weights one prompt at a time the edits give the same on {result.n_checked} prompts (to "
        f"{result.largest_difference:.1g} nats), and every weight {restored}. " + evidence(result)
    )
