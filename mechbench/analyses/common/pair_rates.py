"""From the success of every cell to rates: over any cell, at one fixed cell, on average."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from mechbench.analyses.common.estimates import ESTIMATE, estimate
from mechbench.results.back_patching import (
    ANY_CELL,
    BACK,
    CHOICE,
    CORRECT,
    FIXED_CELL,
    FORWARD,
    INCORRECT,
    MEAN_CELL,
    MEASURE,
    MEASURES,
    NOISE,
    NOISE_STATE,
    OTHER,
    OTHER_ANSWER,
    OTHER_STATE,
    OWN,
    RATE,
    RATES,
    RULE,
    SET,
    SOURCE,
    STATE,
    TARGET,
)
from mechbench.shapes import POSITION, PROMPT

_CELL = "cell"
SETS = (INCORRECT, CORRECT)


@dataclass(frozen=True)
class Split:
    """The incorrect queries that choose a fixed cell, and those on which it is scored."""

    chosen_on: tuple[int, ...]
    scored_on: tuple[int, ...]


def split_incorrect(queries: Sequence[int], seed: int) -> Split:
    """Two halves, drawn by the seed; of an odd number the larger half is scored."""
    order = np.random.default_rng(seed).permutation(len(queries))
    half = len(queries) // 2
    parts = (sorted(queries[i] for i in part) for part in (order[:half], order[half:]))
    return Split(*map(tuple, parts))


def by_measure(success: xr.DataArray, other_answer: xr.DataArray) -> xr.DataArray:
    """Success of the cells of each measure, dims ``(measure rule prompt position cell)``.

    Cells are pairs of a later and an earlier layer; of "forward" the same pairs the other way
    round.
    """
    n_layers = success.sizes[SOURCE]
    later, earlier = np.tril_indices(n_layers, -1)
    back = {SOURCE: xr.DataArray(later, dims=_CELL), TARGET: xr.DataArray(earlier, dims=_CELL)}
    forth = {SOURCE: back[TARGET], TARGET: back[SOURCE]}
    own = success.sel({STATE: OWN}, drop=True)
    parts = {
        BACK: own.isel(back),
        OTHER_STATE: success.sel({STATE: OTHER}, drop=True).isel(back),
        NOISE_STATE: success.sel({STATE: NOISE}, drop=True).isel(back),
        FORWARD: own.isel(forth),
        OTHER_ANSWER: other_answer.isel(back),
    }
    bare = [parts[name].drop_vars([SOURCE, TARGET]) for name in MEASURES]
    return xr.concat(bare, dim=MEASURE).assign_coords({MEASURE: list(MEASURES)})


def fixed_cells(values: xr.DataArray, split: Split, n_layers: int) -> xr.DataArray:
    """The best cell for the queries that choose, dims ``(rule position measure choice)``.

    Controls are read at the cell of back-patching, "forward" at its own best one. The first
    of equals counts.
    """
    best = values.sel({PROMPT: list(split.chosen_on)}).mean(PROMPT).argmax(_CELL)
    own = best.sel({MEASURE: FORWARD}).expand_dims(MEASURE).assign_coords({MEASURE: [FORWARD]})
    shared = [
        best.sel({MEASURE: BACK}, drop=True).expand_dims({MEASURE: [m]})
        for m in MEASURES
        if m != FORWARD
    ]
    index = xr.concat([own, *shared], dim=MEASURE).sel({MEASURE: list(MEASURES)})
    later, earlier = np.tril_indices(n_layers, -1)
    forward = xr.DataArray([m == FORWARD for m in MEASURES], coords={MEASURE: list(MEASURES)})
    a, b = (xr.DataArray(layers, dims=_CELL)[index] for layers in (later, earlier))
    source, target = xr.where(forward, b, a), xr.where(forward, a, b)
    cells = xr.concat([source, target], dim=CHOICE).assign_coords({CHOICE: [SOURCE, TARGET]})
    return cells.transpose(RULE, POSITION, MEASURE, CHOICE).assign_attrs(units="layer")


def rates(
    values: xr.DataArray, cells: xr.DataArray, sets: xr.DataArray, split: Split, seed: int
) -> xr.DataArray:
    """Dims ``(estimate rate rule set position measure)``; NaN where a set has no queries."""
    n_layers = int((1 + (1 + 8 * values.sizes[_CELL]) ** 0.5) // 2)
    at = _cell_index(cells, n_layers)
    per_query = {
        ANY_CELL: values.max(_CELL),
        FIXED_CELL: values.isel({_CELL: at}),
        MEAN_CELL: values.mean(_CELL),
    }
    parts = []
    for name in SETS:
        members = sets[PROMPT].values[sets.values == name]
        scored = split.scored_on if name == INCORRECT else members
        rows = {ANY_CELL: members, FIXED_CELL: scored, MEAN_CELL: members}
        parts.append(
            xr.concat(
                [estimate_or_nan(per_query[r].sel({PROMPT: list(rows[r])}), seed) for r in RATES],
                dim=RATE,
                coords="minimal",
                compat="override",
            ).assign_coords({RATE: list(RATES)})
        )
    whole = xr.concat(parts, dim=SET).assign_coords({SET: list(SETS)})
    whole = whole.transpose(ESTIMATE, RATE, RULE, SET, POSITION, MEASURE)
    return whole.assign_attrs(units="share", long_name="queries answered right")


def grid(success: xr.DataArray, sets: xr.DataArray, seed: int) -> xr.DataArray:
    """Dims ``(estimate rule state set position source target)``; no state where there is none."""
    parts = []
    for name in SETS:
        members = sets[PROMPT].values[sets.values == name]
        parts.append(estimate_or_nan(success.sel({PROMPT: list(members)}), seed))
    whole = xr.concat(parts, dim=SET).assign_coords({SET: list(SETS)})
    axes = (ESTIMATE, RULE, STATE, SET, POSITION, SOURCE, TARGET)
    whole = whole.transpose(*(axis for axis in axes if axis in whole.dims))
    return whole.assign_attrs(units="share", long_name="queries answered right")


def estimate_or_nan(values: xr.DataArray, seed: int) -> xr.DataArray:
    """``estimate``, and NaN where there are no prompts."""
    if values.sizes[PROMPT]:
        return estimate(values, seed=seed)
    blank = xr.full_like(values.sum(PROMPT), np.nan)
    return xr.concat([blank] * 3, dim=ESTIMATE).assign_coords({ESTIMATE: ["mean", "low", "high"]})


def _cell_index(cells: xr.DataArray, n_layers: int) -> xr.DataArray:
    """Which cell of ``by_measure`` a fixed cell is."""
    pair = cells.max(CHOICE), cells.min(CHOICE)
    lookup = np.full((n_layers, n_layers), -1)
    later, earlier = np.tril_indices(n_layers, -1)
    lookup[later, earlier] = np.arange(len(later))
    return xr.DataArray(lookup, dims=("a", "b"))[{"a": pair[0], "b": pair[1]}].drop_vars(
        [SOURCE, TARGET], errors="ignore"
    )
