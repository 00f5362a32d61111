"""Confusions before and after an edit of value vectors, beside its control, and what changed."""

import numpy as np
import xarray as xr

from mechbench.figures.choices import DEFINITION
from mechbench.figures.evidence import ESTIMATE, evidence, mean_of, provenance_of, shares
from mechbench.figures.spec import FigureSpec, Heatmap, Table
from mechbench.results.choices import (
    ACCURACY,
    ALL,
    ANSWERED,
    ANSWERED_FIRST,
    ANY_TOKEN,
    ARGMAX,
    ARGMAXES,
    EDIT,
    FAILING,
    GOLD,
    GOLD_FIRST,
    ITEMS,
    MEASURE,
    NO_EDIT,
    NOT_FIRST,
    OFFERED,
    RANDOM_NEURON,
)
from mechbench.results.edited_choices import CHOSEN, EditedChoices

_TITLES = {NO_EDIT: "before", CHOSEN: "after", RANDOM_NEURON: "control: random neurons"}
_ANSWER = {
    ANY_TOKEN: "the likeliest token of the vocabulary",
    OFFERED: "the likeliest of the labels offered",
}
_ROWS = (
    ("accuracy", ACCURACY, ALL),
    ("accuracy, gold first", ACCURACY, GOLD_FIRST),
    ("accuracy, gold later", ACCURACY, NOT_FIRST),
    ("accuracy, failing", ACCURACY, FAILING),
    ("anchored rate", ANSWERED_FIRST, NOT_FIRST),
)


def edited_choices_figure(result: EditedChoices, *, argmax: str = ANY_TOKEN) -> FigureSpec:
    """Three confusions by ``argmax`` with an interval in each cell, and tables of rates."""
    return FigureSpec(
        name="edited-choices",
        title="Answers before and after chosen value vectors are edited",
        caption=_caption(result, argmax),
        panels=(
            *(_confusion(result, edit, argmax) for edit in _TITLES),
            *(_rates(result, by) for by in ARGMAXES),
        ),
        provenance=provenance_of(result),
    )


def _confusion(result: EditedChoices, edit: str, argmax: str) -> Heatmap:
    share = result.confusion.sel({EDIT: edit, ARGMAX: argmax}).transpose(ESTIMATE, GOLD, ANSWERED)
    asked = ~np.isnan(mean_of(share).values).all(1)
    share = share.isel({GOLD: asked})
    counts = result.counts.sel({EDIT: edit, ARGMAX: argmax}).isel({GOLD: asked}).sum(ANSWERED)
    return Heatmap(
        values=mean_of(share).values,
        rows=tuple(f"{g} ({int(counts.sel({GOLD: g}))})" for g in share[GOLD].values),
        cols=tuple(str(a) for a in share[ANSWERED].values),
        title=f"{_TITLES[edit]} ({argmax})",
        x_title="answered",
        y_title="right (prompts)",
        value_title="share",
        colour=shares(),
        cell_text=tuple(
            tuple(_interval(share.sel({GOLD: g, ANSWERED: a})) for a in share[ANSWERED].values)
            for g in share[GOLD].values
        ),
    )


def _rates(result: EditedChoices, argmax: str) -> Table:
    rows = []
    for title, measure, items in _ROWS:
        at = {MEASURE: measure, ARGMAX: argmax, ITEMS: items}
        n = int(result.n.sel({ITEMS: items}))
        rates, change = result.rates.sel(at), result.change.sel(at)
        shown = (
            rates.sel({EDIT: NO_EDIT}),
            rates.sel({EDIT: CHOSEN}),
            change.sel({EDIT: CHOSEN}),
            rates.sel({EDIT: RANDOM_NEURON}),
            result.beyond_random.sel(at),
        )
        rows.append((title, str(n), *(_interval(values) if n else "–" for values in shown)))
    return Table(
        columns=("share", "n", "before", "after", "change", "random", "after - random"),
        rows=tuple(rows),
        title=f"answers: {argmax}",
    )


def _interval(values: xr.DataArray) -> str:
    mean, low, high = (float(values.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    if np.isnan(low):
        return f"{mean:.2f}"  # one prompt has no interval
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _caption(result: EditedChoices, argmax: str) -> str:
    restored = "was as before, bit for bit" if result.restored else "WAS NOT RESTORED"
    told = " This target is told each prompt's answer." if result.uses_right_label else ""
    draws = len(result.random)
    return (
        f"v ← v - λ1 W_U[first label] + λ2 W_U[target], λ1 = {result.lambda1:g} and "
        f"λ2 = {result.lambda2:g}, target {result.target!r}, written into the value vectors of "
        f"{', '.join(result.neurons)}, all together.{told} Confusions: shares of answers by right "
        f"option, the answer by {_ANSWER[argmax]}. Control: as many random active neurons of the "
        f"same layers, {draws} draw{'' if draws == 1 else 's'}, averaged. {DEFINITION} Anchored "
        "rate: the first label where it is wrong. Changes are paired by prompt. Afterwards every "
        f"weight {restored}. " + evidence(result)
    )
