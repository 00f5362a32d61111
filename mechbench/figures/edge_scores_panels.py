"""Panels that figures of edge scores share."""

import numpy as np
import xarray as xr

from mechbench.figures.spec import Bars, Histogram, Reference, Series

_N_BINS = 40


def spread(scores: np.ndarray, title: str, references: tuple[Reference, ...] = ()) -> Histogram:
    """How many edges have scores of which size; zeros are left out."""
    sizes = np.log10(np.abs(scores[scores != 0]))
    low, high = (sizes.min(), sizes.max()) if sizes.size else (0.0, 1.0)
    edges = np.linspace(low, max(high, low + 1e-3), _N_BINS + 1)
    parts = (("helps", scores[scores > 0]), ("opposes", scores[scores < 0]))
    return Histogram(
        edges=edges,
        series=tuple(
            Series(label=label, values=np.histogram(np.log10(np.abs(part)), edges)[0])
            for label, part in parts
        ),
        references=references,
        title=title,
        x_title="log₁₀ |score|",
        y_title="edges",
    )


def strongest(summary: xr.DataArray, n: int, title: str, y_title: str) -> Bars:
    """The ``n`` edges of largest mean score by size, of a summary (estimate edge)."""
    order = np.argsort(-np.abs(summary.sel(estimate="mean").values), kind="stable")
    top = summary.isel(edge=order[:n])
    mean, low, high = (top.sel(estimate=e).values for e in ("mean", "low", "high"))
    return Bars(
        groups=tuple(top["edge"].values.tolist()),
        series=(Series(label="score", values=mean, low=low, high=high),),
        title=title,
        x_title="writer -> reader",
        y_title=y_title,
    )
