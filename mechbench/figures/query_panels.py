"""Panels that figures on groups of two-hop queries share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from mechbench.figures.evidence import ESTIMATE, mean_of, series, shares
from mechbench.figures.spec import Heatmap, Lines, Series
from mechbench.results.query_groups import GROUP, SOURCE_LAYER, TARGET_LAYER

NOT_ABSENT = "Not found is not absent: what is written early is under-detected."


def groups_of(values: xr.DataArray) -> list[str]:
    """The names of the groups, in order."""
    return [str(name) for name in values[GROUP].values]


def counted(counts: Mapping[str, int]) -> str:
    """The sizes of the groups, in words."""
    return ", ".join(f"{n} {'queries' if name == 'all' else name}" for name, n in counts.items())


def by_layer(
    values: xr.DataArray,
    control: xr.DataArray | None,
    axis: str,
    title: str,
    y_title: str,
    **more: Any,
) -> Lines:
    """Lines of each group over a layer axis (estimate group layer), and of its control."""
    groups = groups_of(values)
    layers = values[axis].values
    lines: list[Series] = [series(values.sel({GROUP: g}, drop=True), g) for g in groups]
    if control is not None:
        of_group = {g: control.sel({GROUP: g}, drop=True) for g in groups}
        lines += [series(v, f"control, {g}", dashed=True) for g, v in of_group.items()]
    return Lines(
        x=np.asarray(layers, dtype=float),
        series=tuple(lines),
        x_labels=tuple(str(layer) for layer in layers),
        title=title,
        x_title="layer",
        y_title=y_title,
        markers=True,
        **more,
    )


def pair_grid(values: xr.DataArray, title: str, value_title: str) -> Heatmap:
    """A map of means over source layers (up) and target layers (right), the best cell outlined."""
    grid = mean_of(values) if ESTIMATE in values.dims else values
    grid = grid.transpose(SOURCE_LAYER, TARGET_LAYER)
    best = np.unravel_index(int(np.argmax(grid.values)), grid.shape)
    return Heatmap(
        values=grid.values,
        rows=tuple(str(layer) for layer in grid[SOURCE_LAYER].values),
        cols=tuple(str(layer) for layer in grid[TARGET_LAYER].values),
        title=title,
        x_title="target layer",
        y_title="source layer",
        value_title=value_title,
        colour=shares(),
        marked=((int(best[0]), int(best[1])),) if float(grid.max()) > 0 else (),
        first_row="bottom",
    )
