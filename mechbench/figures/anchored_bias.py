"""Anchored rates by set, by option and by family of labels, and the confusions."""

import xarray as xr

from mechbench.figures.choices import DEFINITION, confusion_panel
from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Heatmap, Series
from mechbench.results.anchored_bias import ACCURACY_FIRST, ACCURACY_LATER, AnchoredBias
from mechbench.results.choices import (
    ANCHORED,
    ANSWERED,
    ARGMAX,
    ARGMAXES,
    FAILING,
    ITEMS,
    LABELS,
    MEASURE,
    NOT_FIRST,
    OPTION,
    SET,
)

_UNIT = (0.0, 1.0)


def anchored_bias_figure(result: AnchoredBias) -> FigureSpec:
    """Rates by set, accuracies, answers where wrong, other labels, and two confusion matrices."""
    return FigureSpec(
        name="anchored-bias",
        title="How often the first label is answered where it is wrong",
        caption=_caption(result),
        panels=(
            _by_set(result),
            _accuracy(result),
            _wrong(result),
            _families(result),
            *(_confusion(result, argmax) for argmax in ARGMAXES),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _own(values: xr.DataArray, result: AnchoredBias) -> xr.DataArray:
    return values.sel({LABELS: result.own[0]}, drop=True)


def _by_set(result: AnchoredBias) -> Bars:
    rates = _own(result.rates, result).sel({MEASURE: ANCHORED})
    later = result.n.sel({ITEMS: NOT_FIRST})
    return Bars(
        groups=tuple(f"{s} ({int(later.sel({SET: s}))})" for s in rates[SET].values),
        series=(
            *(series(rates.sel({ARGMAX: a}), a) for a in ARGMAXES),
            Series(label="one at random", values=result.chance.values),
        ),
        title="anchored rate, gold later",
        x_title="set (prompts)",
        y_title="share",
        y_limits=_UNIT,
    )


def _accuracy(result: AnchoredBias) -> Bars:
    measures = [ACCURACY_FIRST, ACCURACY_LATER]
    rates = _own(result.rates, result).isel({SET: 0}).sel({MEASURE: measures})
    return Bars(
        groups=tuple(m.removeprefix("accuracy, ") for m in measures),
        series=tuple(series(rates.sel({ARGMAX: a}), a) for a in ARGMAXES),
        title="accuracy, all sets",
        x_title="prompts",
        y_title="share",
        y_limits=_UNIT,
    )


def _wrong(result: AnchoredBias) -> Bars:
    rates = _own(result.wrong, result)
    return Bars(
        groups=tuple(str(o) for o in rates[OPTION].values),
        series=tuple(series(rates.sel({ARGMAX: a}), a) for a in ARGMAXES),
        title="answered where offered and wrong",
        x_title="option",
        y_title="share",
        y_limits=_UNIT,
    )


def _families(result: AnchoredBias) -> Bars:
    rates = result.rates.sel({MEASURE: ANCHORED}).isel({SET: 0})
    top = result.article.isel({MEASURE: 0})
    return Bars(
        groups=tuple(f"{first}, ..." for first in rates[LABELS].values),
        series=(
            *(series(rates.sel({ARGMAX: a}), f"first label, {a}") for a in ARGMAXES),
            series(top, f"token {result.own[0]!r} likeliest"),
        ),
        title="the same questions, other labels",
        x_title="labels",
        y_title="share",
        y_limits=_UNIT,
    )


def _confusion(result: AnchoredBias, argmax: str) -> Heatmap:
    counts = _own(result.confusion, result).sel({ARGMAX: argmax})
    total = counts.sum(ANSWERED)
    return confusion_panel(counts / total.where(total > 0), f"answers, {argmax}", n=counts)


def _caption(result: AnchoredBias) -> str:
    counts = result.n.isel({SET: 0})
    failing, later = (int(counts.sel({ITEMS: kind})) for kind in (FAILING, NOT_FIRST))
    left = "".join(
        f" Labels from {first!r} on were left out: {why}" for first, why in result.left_out.items()
    )
    apart = mean_of(result.without_article).sel({ARGMAX: ARGMAXES[0]})
    prior = ", ".join(
        f"{float(apart.sel({LABELS: f})):.2f} higher than under {f}, ..."
        for f in apart[LABELS].values
    )
    prior = f" The anchored rate under the own labels is {prior}." if prior else ""
    return (
        f"{failing} of {later} prompts whose right option is a later one fail. "
        f"{DEFINITION} The answer is the likeliest token of the vocabulary (any token) or the "
        "likeliest of the labels that a prompt offers. Anchored: answered with the first label "
        "though it is wrong; later options where they are wrong are the control. Under other "
        "labels the own first label's token is no label, so what is left of it is the token's own "
        f"prior.{prior}{left} Last row: prompts by right option and answer. " + evidence(result)
    )
