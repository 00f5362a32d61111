"""Faithfulness by size of the circuit, with random circuits and the complement."""

import xarray as xr

from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.spec import FigureSpec, Lines, Reference, Series
from mechbench.results.circuit_curve import ABSOLUTE, CMD, CPR, RANKINGS, SIGNED, CircuitCurve


def circuit_curve_figure(result: CircuitCurve) -> FigureSpec:
    """Both rankings, random circuits (mean and range) and complements (dashed)."""
    draws = result.random.transpose("size", "draw").values
    random = Series(
        label=f"random circuits, range of {draws.shape[1]}",
        values=draws.mean(1),
        low=draws.min(1),
        high=draws.max(1),
    )
    curves = [series(result.faithfulness.sel(ranking=r), f"ranked by {r} score") for r in RANKINGS]
    rest = [
        Series(
            label=f"all but the {r} circuit",
            values=result.complement_faithfulness.sel(ranking=r, estimate="mean").values,
            dashed=True,
        )
        for r in RANKINGS
    ]
    panel = Lines(
        x=result.asked["size"].values,
        series=(*curves, random, *rest),
        references=(
            Reference(value=1.0, label="whole model"),
            Reference(value=0.0, label="no edge"),
        ),
        x_title=f"share of the {result.n_graph_edges:,} edges",
        y_title="faithfulness",
        x_scale="log",
        markers=True,
    )
    return FigureSpec(
        name="circuit-curve",
        title=f"Faithfulness by circuit size: {result.scored_by}",
        caption=_caption(result),
        panels=(panel,),
        provenance=provenance_of(result),
    )


def _caption(result: CircuitCurve) -> str:
    pruned = "pruned to paths from input to logits" if result.prune else "not pruned"
    kind = "exact" if result.exact_scores else "approximate"
    on = result.chosen_on
    split = (
        f"The scores came from other prompts ({on['n_prompts']} of {on['name']}, seed "
        f"{on['seed']})."
        if result.held_out
        else "The scores came from the same prompts, so nothing here is held out."
    )
    areas = result.areas
    return (
        f"Edges chosen by {result.scored_by} ({kind} scores), rule {result.rule!r}, {pruned}; all "
        f"others ablated ({result.ablation}, corruption {result.corruption}). Faithfulness of the "
        f"mean {result.metric} is {result.normaliser}. "
        f"{_stated(areas, SIGNED, CPR)} and {_stated(areas, ABSOLUTE, CMD)} (as MIB reports them); "
        f"{_stated(areas, ABSOLUTE, CPR)} and {_stated(areas, SIGNED, CMD)}. Random circuits are "
        "what the same rule makes of random scores: mean and range of "
        f"{result.random.sizes['draw']}, CPR {_mean(result.random_areas, CPR)}, CMD "
        f"{_mean(result.random_areas, CMD)} on average. {split} " + evidence(result)
    )


def _stated(areas: xr.DataArray, ranking: str, name: str) -> str:
    mean, low, high = areas.sel(ranking=ranking, area=name).values
    return f"{name} of the {ranking} ranking {mean:.3f} [{low:.3f}, {high:.3f}]"


def _mean(areas: xr.DataArray, name: str) -> str:
    return f"{float(areas.sel(area=name).mean()):.3f}"
