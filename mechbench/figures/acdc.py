"""ACDC: how good the circuit is, and its edges."""

import numpy as np
import xarray as xr

from mechbench.figures.edge_scores_panels import strongest
from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.spec import Bars, FigureSpec, Panel, Series, Table
from mechbench.results.acdc import Acdc
from mechbench.shapes import PROMPT

_MOST_ROWS = 200


def acdc_figure(result: Acdc, *, n_strongest: int = 20) -> FigureSpec:
    """The metric with the kept edges alone beside its ends, and the kept edges."""
    units = result.scores.attrs["units"]
    n, of = len(result.kept), result.scores.sizes["edge"]
    kept = result.summary.sel(edge=list(result.kept))
    rule = "moves" if result.compare == "metric" else "falls"
    panels: list[Panel] = [_quality(result, units)]
    if n:
        panels += [
            strongest(kept, n_strongest, "strongest kept edges", f"change ({units})"),
            _table(kept, units),
        ]
    more = f" The table shows the {_MOST_ROWS} strongest." if n > _MOST_ROWS else ""
    return FigureSpec(
        name="acdc",
        title=f"ACDC kept {n:,} of {of:,} edges",
        caption=(
            f"From the logits backwards, an edge is taken out (it then carries the corrupted "
            f"activation, {result.corruption or 'the task’s corruption'}) if the mean of "
            f"{result.metric} {rule} by no more than {result.threshold:g} {units}; "
            f"{result.n_tests:,} edges were tested. A change is the fall of the metric in that "
            f"test, against the circuit of that moment. Random: {result.random.sizes['draw']} sets "
            f"of as many edges, mean and 95 % range.{more} " + evidence(result)
        ),
        panels=tuple(panels),
        provenance=provenance_of(result),
    )


def _quality(result: Acdc, units: str) -> Bars:
    draws = result.random.mean(PROMPT).values
    means = [float(x.mean()) for x in (result.clean, result.circuit, result.corrupt)]
    low, high = np.quantile(draws, [0.025, 0.975])
    bars = np.array([*means[:2], draws.mean(), means[2]])
    return Bars(
        groups=("whole model", "circuit", "random edges", "no edges"),
        series=(
            Series(
                label=result.metric,
                values=bars,
                low=np.array([*means[:2], low, means[2]]),
                high=np.array([*means[:2], high, means[2]]),
            ),
        ),
        title="the circuit alone",
        y_title=f"{result.metric} ({units})",
    )


def _table(kept: xr.DataArray, units: str) -> Table:
    order = np.argsort(-np.abs(kept.sel(estimate="mean").values), kind="stable")[:_MOST_ROWS]
    rows = []
    for edge in kept["edge"].values[order].tolist():
        own = kept.sel(edge=edge)
        numbers = (f"{float(own.sel(estimate=e)):.3g}" for e in ("mean", "low", "high"))
        rows.append((edge, *numbers))
    return Table(
        columns=("edge", f"change ({units})", "low", "high"), rows=tuple(rows), title="kept edges"
    )
