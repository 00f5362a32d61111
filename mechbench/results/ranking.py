"""Entries of an estimate by size: which heads, or which components, matter most."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

ESTIMATE = "estimate"


@dataclass(frozen=True)
class Ranked:
    """One entry: its coordinates with dots between them ("2.1"), its mean and its interval."""

    label: str
    mean: float
    low: float
    high: float


def ranked(summary: xr.DataArray) -> list[Ranked]:
    """Entries of ``summary`` (estimate, and further axes), the largest absolute mean first.

    Entries without a mean (NaN) come last; equal ones keep their order.
    """
    axes = [str(dim) for dim in summary.dims if dim != ESTIMATE]
    flat = summary.transpose(ESTIMATE, *axes)
    values = flat.values.reshape(flat.sizes[ESTIMATE], -1)
    names = list(flat[ESTIMATE].values)
    mean, low, high = (values[names.index(name)] for name in ("mean", "low", "high"))
    places = np.ndindex(*(flat.sizes[axis] for axis in axes))
    labels = [
        ".".join(str(flat[axis].values[i]) for axis, i in zip(axes, place, strict=True))
        for place in places
    ]
    order = np.argsort(-np.nan_to_num(np.abs(mean), nan=-1.0), kind="stable")
    return [Ranked(labels[i], float(mean[i]), float(low[i]), float(high[i])) for i in order]
