"""One token forced through or past a block: loss, metric and likeliest tokens."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of
from mechbench.figures.spec import Bars, FigureSpec, Reference, Series, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.forced_route import (
    FORCED,
    LOSS,
    MEASURE,
    METRIC,
    OWN,
    RANK,
    STATE,
    ForcedRoute,
)
from mechbench.shapes import LAYER, PROMPT

_WAYS = {"other": "the other way", "through": "through", "past": "past"}


def forced_route_figure(result: ForcedRoute) -> FigureSpec:
    """Changes of loss and metric over prompts and in one prompt, and a table of likely tokens."""
    name = result.metric_name.replace("_", " ")
    token = shown_token(str(result.tokens.values[result.position]))
    went = "through" if bool(result.through.isel({PROMPT: result.prompt})) else "past"
    weight = float(result.weight.isel({PROMPT: result.prompt}))
    own, forced = (_value(result, METRIC, state) for state in (OWN, FORCED))
    n = result.provenance.n_prompts
    return FigureSpec(
        name="forced-route",
        title=f"Position {result.position} forced {_WAYS[result.to]} at block {result.layer}",
        caption=(
            f"Route mode {result.mode}, {result.run} prompts. In prompt {result.prompt} the token "
            f"{token} goes {went} (router weight {weight:+.2f}); its {name} is {own:+.3f}, and "
            f"{forced:+.3f} {result.metric_units} when forced. Over the {result.n_changed} of {n} "
            f"prompts whose decision changes, the {name} changes by "
            f"{_said(result.summary, METRIC)} {result.metric_units} and the mean next-token loss "
            f"by {_said(result.summary, LOSS)} nats; turning another position of the block that "
            f"was decided alike ({result.n_random} draws, {result.n_compared} prompts): "
            f"{_said(result.random, METRIC)} and {_said(result.random, LOSS)}. {_later(result)}"
            f"Table: likeliest tokens after prompt {result.prompt}, at its first answer's "
            "position. " + evidence(result)
        ),
        panels=(
            _bars(result, METRIC, name, result.metric_units),
            _bars(result, LOSS, "next-token loss", "nats"),
            _top(result),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _value(result: ForcedRoute, measure: str, state: str) -> float:
    return float(result.values.sel({MEASURE: measure, STATE: state}).isel({PROMPT: result.prompt}))


def _said(values: xr.DataArray, measure: str) -> str:
    at = values.sel({MEASURE: measure})
    mean, low, high = (float(at.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    if np.isnan(mean):
        return "nothing (there are no such prompts)"
    return f"{mean:+.3f}" + ("" if np.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def _later(result: ForcedRoute) -> str:
    layers = result.rerouted[LAYER].values
    if not len(layers):
        return ""
    said = ", ".join(
        f"{float(n):.2f} at block {layer}"
        for layer, n in zip(layers, result.rerouted.values, strict=True)
    )
    return f"Tokens that go another way later on, on average: {said}. "


def _bars(result: ForcedRoute, measure: str, title: str, units: str) -> Bars:
    parts = [values.sel({MEASURE: measure}) for values in (result.summary, result.random)]
    mean, low, high = (
        np.array([float(part.sel({ESTIMATE: e})) for part in parts])
        for e in ("mean", "low", "high")
    )
    own = _value(result, measure, FORCED) - _value(result, measure, OWN)
    return Bars(
        groups=("prompts that change", "other position", f"prompt {result.prompt}"),
        series=(
            Series(
                label="change",
                values=np.append(mean, own),
                low=np.append(low, np.nan),
                high=np.append(high, np.nan),
            ),
        ),
        references=(Reference(value=0.0),),
        title=title,
        y_title=f"Δ {units}",
    )


def _top(result: ForcedRoute) -> Table:
    rows = []
    for rank in result.top_token[RANK].values:
        row = [str(int(rank))]
        for state in (OWN, FORCED):
            at = {STATE: state, RANK: rank}
            token = shown_token(str(result.top_token.sel(at).item()))
            prob, logit = float(result.top_prob.sel(at)), float(result.top_logit.sel(at))
            row.append(f"{token}  {prob:.2f} {logit:+.1f}")
        rows.append(tuple(row))
    columns = ("rank", "own routes", "forced")
    return Table(columns=columns, rows=tuple(rows), title="token, probability, logit")
