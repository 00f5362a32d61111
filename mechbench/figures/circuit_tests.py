"""A tested circuit: its graph, its faithfulness beside random circuits, what each part costs."""

import numpy as np
import xarray as xr

from mechbench.figures.circuit_graph import MOST_EDGES, circuit_graph
from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.graph import Graph
from mechbench.figures.spec import Bars, FigureSpec, Series
from mechbench.results.circuit_tests import CircuitTests

_MOST_BARS = 30


def circuit_tests_figure(result: CircuitTests) -> FigureSpec:
    """The circuit, its faithfulness by ablation beside random circuits, and minimality."""
    return FigureSpec(
        name="circuit-tests",
        title=f"A circuit of {len(result.edges):,} edges",
        caption=_caption(result),
        panels=(_graph(result), _faithfulness(result), _minimality(result)),
        provenance=provenance_of(result),
    )


def _graph(result: CircuitTests) -> Graph:
    return circuit_graph(result.edges, result.edge_scores, result.model_facts, roles=result.roles)


def _faithfulness(result: CircuitTests) -> Bars:
    random = result.random.transpose("null", "ablation", "draw")
    drawn = tuple(
        Series(
            label=f"random, {null}: mean and range",
            values=random.sel(null=null).values.mean(1),
            low=random.sel(null=null).values.min(1),
            high=random.sel(null=null).values.max(1),
        )
        for null in random["null"].values
    )
    return Bars(
        groups=tuple(result.faithfulness["ablation"].values),
        series=(
            series(result.faithfulness, "circuit"),
            series(result.completeness, "all but the circuit"),
            *drawn,
        ),
        title="share of the metric",
        x_title="ablation of all other edges",
        y_title="faithfulness",
    )


def _minimality(result: CircuitTests) -> Bars:
    first = result.minimality.isel(ablation=0, drop=True)
    order = np.argsort(-mean_of(first).values, kind="stable")[:_MOST_BARS]
    shown = first.isel(removed=order)
    more = f", the {len(order)} most costly" if first.sizes["removed"] > len(order) else ""
    return Bars(
        groups=tuple(shown["removed"].values),
        series=(series(shown, f"without this {result.removed_kind}"),),
        title=f"minimality: share lost without one {result.removed_kind}{more}",
        y_title="share lost",
    )


def _caption(result: CircuitTests) -> str:
    n_random = result.random.sizes["draw"]
    method = result.circuit_source.get("method")
    chosen = "Given circuit" if method is None else f"Circuit by {method}"
    rule = result.selection.get("rule")
    by = "" if rule is None else f", rule {rule!r} by {result.selection.get('rank')} score"
    size = result.selection.get("size")
    how_many = f" (size: {size})" if size else ""
    split = (
        "The circuit was chosen on other prompts."
        if result.held_out
        else "The circuit was chosen on the same prompts, or it is not known on which, so nothing "
        "here is held out."
    )
    return (
        f"{chosen}{by}: {len(result.edges):,} of {result.n_graph_edges:,} edges{how_many}, all "
        f"others ablated (corruption {result.corruption}). {_drawn(result)}{_numbers(result)} "
        f"Random circuits: {n_random} of each null with as many edges, drawn from all edges "
        "(uniform) or with as many of every kind and layer pair (matched, which share "
        f"{result.matched_overlap:.0%} of the circuit's edges); p counts those as faithful. "
        f"{len(result.removable)} {result.removed_kind}s cost at most {result.tolerance:g} each. "
        f"{split} " + evidence(result)
    )


def _drawn(result: CircuitTests) -> str:
    signs = "Red edges help the metric, blue ones oppose it"
    scored = f"{signs}. " if result.edge_scores else "The edges have no scores. "
    if len(result.edges) <= MOST_EDGES:
        return scored
    return f"The {MOST_EDGES} strongest edges are drawn. {scored}"


def _numbers(result: CircuitTests) -> str:
    parts = []
    for ablation in (str(a) for a in result.faithfulness["ablation"].values):
        at = {"ablation": ablation}
        p = ", ".join(
            f"p = {float(result.p_value.sel({**at, 'null': null})):.3g} ({null})"
            for null in ("uniform", "matched")
        )
        parts.append(
            f"{ablation}: faithfulness of the mean {result.metric} "
            f"{_interval(result.faithfulness.sel(at))}, {p}, left without the circuit "
            f"{_interval(result.completeness.sel(at))}, incompleteness over {result.n_subsets} "
            f"subsets {_interval(result.incompleteness.sel({**at, 'statistic': 'mean'}))}."
        )
    return " ".join(parts)


def _interval(values: xr.DataArray) -> str:
    mean, low, high = values.values
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
