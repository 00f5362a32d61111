"""Confusions before and after an edit of value vectors, beside its control, and what changed."""

from collections.abc import Mapping

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
    """Three confusions with an interval in each cell, rates and differences, all by ``argmax``."""
    return FigureSpec(
        name="edited-choices",
        title="Answers before and after chosen value vectors are edited",
        caption=_caption(result, argmax),
        panels=(
            *(_confusion(result, edit, argmax) for edit in _TITLES),
            _rates(result, argmax),
            _changes(result, argmax),
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
    columns = {
        "before": result.rates.sel({EDIT: NO_EDIT}),
        "after": result.rates.sel({EDIT: CHOSEN}),
        "random neurons": result.rates.sel({EDIT: RANDOM_NEURON}),
    }
    return _table(result, columns, argmax, f"shares of prompts ({argmax})")


def _changes(result: EditedChoices, argmax: str) -> Table:
    columns = {
        "after - before": result.change.sel({EDIT: CHOSEN}),
        "random - before": result.change.sel({EDIT: RANDOM_NEURON}),
        "after - random": result.beyond_random,
    }
    return _table(result, columns, argmax, f"differences, paired by prompt ({argmax})")


def _table(
    result: EditedChoices, columns: Mapping[str, xr.DataArray], argmax: str, title: str
) -> Table:
    rows = []
    for name, measure, items in _ROWS:
        at = {MEASURE: measure, ARGMAX: argmax, ITEMS: items}
        n = int(result.n.sel({ITEMS: items}))
        cells = (_interval(values.sel(at)) if n else "–" for values in columns.values())
        rows.append((name, str(n), *cells))
    return Table(columns=("share", "n", *columns), rows=tuple(rows), title=title)


def _interval(values: xr.DataArray) -> str:
    mean, low, high = (_number(float(values.sel({ESTIMATE: e}))) for e in ("mean", "low", "high"))
    return mean if low == "nan" else f"{mean} [{low}, {high}]"  # one prompt has no interval


def _number(value: float) -> str:
    text = f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


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
