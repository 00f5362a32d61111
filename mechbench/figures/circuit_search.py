"""A found circuit: its heads and roles, its growth, and its tests beside random heads."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Lines, Panel, Reference, Series, Table
from mechbench.results.circuit_search import (
    ALL_LETTERS,
    DIRECT,
    EFFECT_WORD,
    OV_DIAGONAL,
    TO_EARLIER,
    TO_PREVIOUS,
    TO_WORD,
    CircuitSearch,
)
from mechbench.shapes import ANSWER, HEAD, LAYER

_COLUMNS = {
    TO_WORD: "to word",
    TO_PREVIOUS: "to token before",
    TO_EARLIER: "to earlier",
    DIRECT: "direct",
    OV_DIAGONAL: "copies",
    EFFECT_WORD: "effect",
}


def circuit_search_figure(result: CircuitSearch) -> FigureSpec:
    """Heads, growth, faithfulness, completeness and minimality."""
    reached = "" if result.reached else f" The target of {result.target_share:.0%} was not reached."
    return FigureSpec(
        name="circuit-search",
        title="A circuit and its tests",
        caption=(
            f"Heads added greedily until every letter recovered {result.target_share:.0%} of LD "
            f"under mean ablation of all others ({result.method}; {result.n_search} prompts), then "
            f"those without need dropped.{reached} Shares are counted from LD with all heads "
            f"ablated to LD of the intact model, on {result.n_test} other prompts "
            f"({result.split}); random: mean and 95 % range of "
            f"{result.random_faithfulness.sizes['draw']} sets of {len(result.heads)} heads. "
            "Columns: mean attention to the word, the token before, and earlier words and letters; "
            "direct effect and effect of corrupting the current word (logits); share of letters "
            "copied. " + evidence(result)
        ),
        panels=(
            _heads(result),
            _growth(result),
            _test(result.faithfulness, result.random_faithfulness, "faithfulness", 1.0),
            _test(result.completeness, result.random_completeness, "share of the rest", 0.0),
            _minimality(result),
        ),
        columns=1,
        provenance=provenance_of(result),
    )


def _heads(result: CircuitSearch) -> Table:
    def row(head: str) -> tuple[str, ...]:
        layer, index = (int(part) for part in head.split("."))
        own = result.features.sel({LAYER: layer, HEAD: index})
        numbers = (f"{float(own.sel(feature=name)):.2f}" for name in _COLUMNS)
        return (head, result.roles[head], *numbers)

    return Table(
        columns=("head", "role", *_COLUMNS.values()),
        rows=tuple(row(head) for head in result.heads),
        title=f"{len(result.heads)} of {result.features[0].size} heads",
    )


def _growth(result: CircuitSearch) -> Panel:
    steps = [str(s) for s in result.growth["step"].values]
    return Lines(
        x=np.arange(len(steps)),
        x_labels=tuple([steps[0], *(f"+{s}" for s in steps[1:])]),
        series=tuple(
            Series(label=str(a), values=result.growth.sel({ANSWER: a}).values)
            for a in result.growth[ANSWER].values
        ),
        references=(Reference(value=result.target_share, label="target"),),
        title="growing, on the search prompts",
        x_title="head added",
        y_title="share of LD",
        markers=True,
    )


def _test(found: xr.DataArray, random: xr.DataArray, title: str, ideal: float) -> Panel:
    low, high = (random.quantile(q, "draw").values for q in (0.025, 0.975))
    return Bars(
        groups=tuple(str(a) for a in found[ANSWER].values),
        series=(
            series(found.transpose(ESTIMATE, ANSWER), "circuit"),
            Series(label="random heads", values=random.mean("draw").values, low=low, high=high),
        ),
        references=(Reference(value=ideal, label="ideal"),),
        title=title,
        y_title="share of LD",
    )


def _minimality(result: CircuitSearch) -> Panel:
    lost = result.minimality.sel({ANSWER: ALL_LETTERS}).transpose(ESTIMATE, "removed")
    return Bars(
        groups=tuple(str(h) for h in lost["removed"].values),
        series=(series(lost, "all letters"),),
        title="minimality: share lost without one head",
        x_title="head removed",
        y_title="share of LD",
    )
