"""One grid of a back-patching result, and one cell of it beside its controls."""

import xarray as xr

from mechbench.errors import MechbenchError
from mechbench.figures.back_patching import grid_panel
from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec
from mechbench.results.back_patching import (
    BACK,
    CHOICE,
    FIXED_CELL,
    FORWARD,
    INCORRECT,
    MEASURE,
    NOISE,
    NOISE_STATE,
    OTHER,
    OTHER_ANSWER,
    OTHER_STATE,
    OWN,
    RATE,
    RULE,
    SET,
    SOURCE,
    STATE,
    STATES,
    TARGET,
    BackPatching,
)
from mechbench.shapes import POSITION

UNPATCHED, REVERSED = "unpatched", "reversed"
_WRITES = {
    OWN: "that of the source layer at the same position",
    OTHER: "that of the source layer of another query's prompt",
    NOISE: "itself plus a random direction as long as the change of back-patching",
}


def back_patching_grid_figure(
    result: BackPatching, *, rule: str, state: str, group: str, position: str
) -> FigureSpec:
    """The success of every pair of layers, for one set of queries at one position.

    Args:
        rule: "first token" or "text".
        state: whose states are written: "own", "another query's" or "noise".
        group: "incorrect" or "correct".
        position: "t1" or "t2".

    Raises:
        MechbenchError: what the result does not have, or a set without queries.
    """
    _check(result, rule=rule, state=state, group=group, position=position)
    source, target = fixed_cell(result, rule, position)
    return FigureSpec(
        name="back-patching-grid",
        title=f"Back-patching at {position}: {group} set, {state} states",
        caption=(
            f"Share of the {result.n_run(group)} queries of the {group} set answered right, by the "
            f"{rule}, when the output of the target layer at {position} is overwritten with "
            f"{_WRITES[state]}. Above the diagonal states go back, below it forward, on it nothing "
            f"changes. The outlined cell, {source} to {target}, was chosen on {result.n_chosen} "
            f"queries of the incorrect set and is scored on {result.n_scored} others: "
            f"{_fixed(result, rule, position)}. The best cell of a grid flatters itself. "
            + evidence(result)
        ),
        panels=(grid_panel(result, rule, state, group, position),),
        provenance=provenance_of(result),
    )


def back_patching_cell_figure(
    result: BackPatching, *, rule: str, group: str, position: str, source: int, target: int
) -> FigureSpec:
    """Bars of the success of one pair of layers and of its controls, with intervals.

    Args:
        rule, group, position: as of ``back_patching_grid_figure``.
        source, target: layers.

    Raises:
        MechbenchError: what the result does not have, or a set without queries.
    """
    _check(result, rule=rule, state=OWN, group=group, position=position)
    n_layers = result.grid.sizes[SOURCE]
    if not (0 <= source < n_layers and 0 <= target < n_layers):
        raise MechbenchError(
            f"There is no cell {source} to {target}: layers are 0 to {n_layers - 1}."
        )
    bars = cell_estimates(result, rule, group, position, source, target)
    joined = xr.concat(list(bars.values()), dim=MEASURE, coords="minimal", compat="override")
    return FigureSpec(
        name="back-patching-cell",
        title=f"Layer {source} written into layer {target} at {position}",
        caption=(
            f"Share of the {result.n_run(group)} queries of the {group} set answered right, by the "
            f"{rule}, when this one cell is patched, and with its controls: another query's state, "
            "noise as long as the change (both of back-patching cells alone), the same two layers "
            "the other way round (reversed), and another query's answer counted as right. A cell "
            "picked because the grid looks good there flatters itself; the fixed cell is "
            f"{' to '.join(map(str, fixed_cell(result, rule, position)))}, scored on "
            f"{result.n_scored} queries that did not choose it: {_fixed(result, rule, position)}. "
            + evidence(result)
        ),
        panels=(
            Bars(
                groups=tuple(bars),
                series=(series(joined, "share right"),),
                title=f"{group} set",
                y_title="share right",
                y_limits=(0.0, 1.0),
            ),
        ),
        provenance=provenance_of(result),
    )


def fixed_cell(result: BackPatching, rule: str, position: str) -> tuple[int, int]:
    """Source and target layer of the cell that one half of the incorrect set chose."""
    cell = result.fixed_cells.sel({RULE: rule, POSITION: position, MEASURE: BACK})
    return int(cell.sel({CHOICE: SOURCE})), int(cell.sel({CHOICE: TARGET}))


def _fixed(result: BackPatching, rule: str, position: str) -> str:
    at = {RATE: FIXED_CELL, RULE: rule, SET: INCORRECT, POSITION: position, MEASURE: BACK}
    mean, low, high = (
        float(result.rates.sel({ESTIMATE: e, **at})) for e in ("mean", "low", "high")
    )
    return f"{mean:.2f} right" + (f" [{low:.2f}, {high:.2f}]" if result.n_scored > 1 else "")


def cell_estimates(
    result: BackPatching, rule: str, group: str, position: str, source: int, target: int
) -> dict[str, xr.DataArray]:
    """Name to share right (estimate): unpatched, the cell, and its controls where they were run."""
    at = {RULE: rule, SET: group, POSITION: position}

    def success(state: str, a: int, b: int) -> xr.DataArray:
        return result.grid.sel({**at, STATE: state, SOURCE: a, TARGET: b}, drop=True)

    bars = {UNPATCHED: success(OWN, target, target)}
    if source > target:
        bars[BACK] = success(OWN, source, target)
        bars[OTHER_STATE] = success(OTHER, source, target)
        bars[NOISE_STATE] = success(NOISE, source, target)
    elif source < target:
        bars[FORWARD] = success(OWN, source, target)
    if source != target:
        bars[REVERSED] = success(OWN, target, source)
        bars[OTHER_ANSWER] = result.other_grid.sel(
            {**at, SOURCE: source, TARGET: target}, drop=True
        )
    return bars


def _check(result: BackPatching, *, rule: str, state: str, group: str, position: str) -> None:
    known = {
        "rule": (rule, [str(r) for r in result.rates[RULE].values]),
        "state": (state, list(STATES)),
        "position": (position, [str(p) for p in result.rates[POSITION].values]),
        "group": (group, [str(s) for s in result.rates[SET].values if result.n_run(str(s))]),
    }
    for name, (given, offered) in known.items():
        if given not in offered:
            raise MechbenchError(
                f"{name}={given!r}: this result has {', '.join(offered) or 'none'}."
            )
