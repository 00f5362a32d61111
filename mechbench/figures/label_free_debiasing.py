"""Debiasing without right labels: one table, accuracies, answers, and how the edit was chosen."""

import xarray as xr

from mechbench.figures.evidence import ESTIMATE, evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Heatmap, Sequential, Table
from mechbench.results.choices import (
    ACCURACY,
    ANSWERED,
    ANY_TOKEN,
    ARGMAX,
    ARGMAXES,
    ITEMS,
    MEASURE,
    OFFERED,
)
from mechbench.results.label_free_debiasing import (
    KIND,
    LAMBDA,
    METHOD,
    N_NEURONS,
    LabelFreeDebiasing,
)

_UNIT = (0.0, 1.0)


def label_free_debiasing_figure(result: LabelFreeDebiasing) -> FigureSpec:
    """A table of accuracies, bars of answers, and a heat map of the search for each kind."""
    chosen = result.chosen
    counts = ", ".join(f"{int(result.n.sel({ITEMS: i}))} {i}" for i in result.n[ITEMS].values)
    return FigureSpec(
        name="label-free-debiasing",
        title="Debiasing that is not told the right labels",
        caption=(
            f"{result.statement} * uses right labels. Test prompts: {counts}. Calibrated labels: "
            "each label's log-probability less its mean over the calibration prompts. Chosen edit: "
            f"{chosen[KIND]}, {chosen[N_NEURONS]} of {', '.join(result.neurons)}, "
            f"λ = {chosen[LAMBDA]:g}: of all in the heat maps it leaves the labels most even on "
            f"{result.n_calibration} calibration prompts (unedited: "
            f"{result.unevenness_unedited:.2f}). Control: the same edit on random active neurons "
            f"({result.n_random} draws). " + evidence(result)
        ),
        panels=(
            *(_accuracies(result, argmax) for argmax in ARGMAXES),
            *(_answers(result, argmax) for argmax in (ANY_TOKEN, OFFERED)),
            *(_search(result, str(kind)) for kind in result.unevenness[KIND].values),
        ),
        provenance=provenance_of(result),
    )


def _accuracies(result: LabelFreeDebiasing, argmax: str) -> Table:
    rates = result.rates.sel({MEASURE: ACCURACY, ARGMAX: argmax})
    items = [str(i) for i in rates[ITEMS].values]
    rows = tuple(
        (
            _marked(result, str(method)),
            *(_interval(rates.sel({METHOD: method, ITEMS: i})) for i in items),
        )
        for method in rates[METHOD].values
    )
    return Table(columns=("method", *items), rows=rows, title=f"accuracy, {argmax}")


def _answers(result: LabelFreeDebiasing, argmax: str) -> Bars:
    values = result.answers.sel({ARGMAX: argmax})
    return Bars(
        groups=tuple(str(a) for a in values[ANSWERED].values),
        series=tuple(
            series(values.sel({METHOD: m}), _marked(result, str(m))) for m in values[METHOD].values
        ),
        title=f"answers to the test prompts, {argmax}",
        x_title="answered",
        y_title="share",
        y_limits=_UNIT,
    )


def _search(result: LabelFreeDebiasing, kind: str) -> Heatmap:
    values = result.unevenness.sel({KIND: kind}).transpose(N_NEURONS, LAMBDA)
    return Heatmap(
        values=values.values,
        rows=tuple(str(n) for n in values[N_NEURONS].values),
        cols=tuple(f"{x:g}" for x in values[LAMBDA].values),
        title=f"unevenness of the labels: {kind}",
        x_title="λ",
        y_title="neurons",
        value_title="distance",
        colour=Sequential(low=0.0),
        cell_text=tuple(tuple(f"{v:.2f}" for v in row) for row in values.values),
    )


def _marked(result: LabelFreeDebiasing, method: str) -> str:
    return f"{method} *" if result.uses_right_label[method] else method


def _interval(values: xr.DataArray) -> str:
    low, high = (float(values.sel({ESTIMATE: e})) for e in ("low", "high"))
    return f"{float(mean_of(values)):.2f} [{low:.2f}, {high:.2f}]"
