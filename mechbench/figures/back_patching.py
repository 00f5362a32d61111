"""Success by pair of layers, and its rates beside their controls."""

from mechbench.errors import MechbenchError
from mechbench.figures.evidence import evidence, mean_of, provenance_of, series, shares
from mechbench.figures.spec import Bars, FigureSpec, Heatmap, Panel, Sequential
from mechbench.results.back_patching import (
    ANY_CELL,
    BACK,
    CHOICE,
    CORRECT,
    FIXED_CELL,
    FORWARD,
    INCORRECT,
    MEASURE,
    MEASURES,
    OTHER_STATE,
    OWN,
    RATE,
    RATES,
    RULE,
    SET,
    SOURCE,
    STATE,
    STATES,
    TARGET,
    BackPatching,
)
from mechbench.shapes import POSITION


def back_patching_figure(
    result: BackPatching, *, rule: str | None = None, state: str = OWN
) -> FigureSpec:
    """A grid of layer pairs for each position and set, and bars of rates below it.

    Args:
        rule: "first token" or "text"; by default the text where there is one.
        state: whose states the grids show: "own", "another query's" or "noise".

    Raises:
        MechbenchError: a rule or a kind of state that the result does not have.
    """
    rules = [str(r) for r in result.rates[RULE].values]
    rule = rules[-1] if rule is None else rule
    if rule not in rules or state not in STATES:
        raise MechbenchError(
            f"rule={rule!r}, state={state!r}: this result has the rules {', '.join(rules)} and the "
            f"states {', '.join(STATES)}."
        )
    places = [str(p) for p in result.rates[POSITION].values]
    sets = [name for name in (INCORRECT, CORRECT) if result.n_run(name)]
    grids: list[Panel] = [grid_panel(result, rule, state, s, p) for s in sets for p in places]
    bars: list[Panel] = [_bars(result, rule, s, p) for s in sets for p in places]
    return FigureSpec(
        name="back-patching",
        title="Back-patching: late states written into early layers",
        caption=_caption(result, rule, places),
        panels=(*grids, *bars),
        columns=len(places),
        shared_colour=False,
        provenance=provenance_of(result),
    )


def grid_panel(result: BackPatching, rule: str, state: str, name: str, place: str) -> Heatmap:
    """Success by source (up) and target layer (right), the fixed cell outlined."""
    at = {RULE: rule, STATE: state, SET: name, POSITION: place}
    values = mean_of(result.grid).sel(at).transpose(SOURCE, TARGET)
    cell = result.fixed_cells.sel({RULE: rule, POSITION: place, MEASURE: BACK})
    source, target = (int(cell.sel({CHOICE: c})) for c in (SOURCE, TARGET))
    kind = "" if state == OWN else f", {state}"
    return Heatmap(
        values=values.values,
        rows=tuple(str(layer) for layer in values[SOURCE].values),
        cols=tuple(str(layer) for layer in values[TARGET].values),
        title=f"{name} set, {place}{kind}",
        x_title="target layer",
        y_title="source layer",
        value_title="share right",
        colour=Sequential(low=0.0) if name == INCORRECT else shares(),
        marked=((source, target),),
        first_row="bottom",
    )


def _bars(result: BackPatching, rule: str, name: str, place: str) -> Bars:
    values = result.rates.sel({RULE: rule, SET: name, POSITION: place}, drop=True)
    return Bars(
        groups=MEASURES,
        series=tuple(series(values.sel({RATE: rate}, drop=True), rate) for rate in RATES),
        title=f"{name} set, {place}",
        y_title="share right",
        y_limits=(0.0, 1.0),
    )


def _caption(result: BackPatching, rule: str, places: list[str]) -> str:
    rates = mean_of(result.rates).sel({RULE: rule, SET: INCORRECT})
    n_layers = result.grid.sizes[SOURCE]
    found = []
    for place in places:
        at = rates.sel({POSITION: place})
        cell = result.fixed_cells.sel({RULE: rule, POSITION: place, MEASURE: BACK})
        numbers = [
            float(at.sel({RATE: r, MEASURE: m}))
            for r in (ANY_CELL, FIXED_CELL)
            for m in (BACK, OTHER_STATE, FORWARD)
        ]
        a, b, c, d, e, f = (f"{number:.2f}" for number in numbers)
        source, target = (int(cell.sel({CHOICE: x})) for x in (SOURCE, TARGET))
        found.append(
            f"At {place} any cell rescues {a} of the incorrect set (another query's state {b}, "
            f"forward cells {c}), the fixed cell {source} to {target} rescues {d} ({e}, {f})."
        )
    about = (
        f"greedy text of {result.n_new} tokens names the answer"
        if rule == "text"
        else "the likeliest first token begins a name of the answer"
    )
    counted = ", ".join(f"{result.n_run(name)} {name}" for name in (INCORRECT, CORRECT))
    return (
        "The output of the target layer is overwritten with that of the source layer at the same "
        f"position; right: {about}. Above the diagonal of the grid states go back, below it "
        "forward, on it nothing changes; the outlined cell was chosen on "
        f"{result.n_chosen} queries of the incorrect set and is scored on the other "
        f"{result.n_scored}. {' '.join(found)} A rate over any of {n_layers * (n_layers - 1) // 2} "
        "cells is inflated by the number of tries: compare it with its controls, or read the fixed "
        f"cell. Queries run: {counted}. " + evidence(result)
    )
