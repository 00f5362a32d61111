"""Bootstrap intervals over prompts."""

import numpy as np
import xarray as xr

from mechbench.shapes import PROMPT

RESAMPLE = "resample"
_CELLS_AT_ONCE = 4096


def bootstrap_means(
    values: xr.DataArray, *, dim: str = PROMPT, n: int = 2000, seed: int = 0
) -> xr.DataArray:
    """Means of ``values`` over ``dim`` in ``n`` resamples of it: axes [resample ...], same units.

    Equal ``n``, ``seed`` and number of prompts give equal resamples, so quantities computed in two
    calls stay paired: take the ratio or the difference of the means, then :func:`interval`.
    """
    rest = [d for d in values.dims if d != dim]
    ordered = values.transpose(dim, *rest)
    flat = ordered.values.reshape(ordered.sizes[dim], -1).astype(np.float64)
    means = _resample_weights(len(flat), n, seed) @ flat
    shape = (n, *(ordered.sizes[d] for d in rest))
    coords = {k: c for k, c in ordered.coords.items() if dim not in c.dims}
    return xr.DataArray(means.reshape(shape), dims=(RESAMPLE, *rest), coords=coords)


def interval(means: xr.DataArray, *, level: float = 0.95) -> tuple[xr.DataArray, xr.DataArray]:
    """Percentile bounds (low, high) of ``level`` over the resample axis of :func:`bootstrap_means`.

    NaN where any resample is NaN.
    """
    axis = means.dims.index(RESAMPLE)
    tail = (1 - level) / 2
    low, high = np.quantile(means.values, [tail, 1 - tail], axis=axis)
    template = means.isel({RESAMPLE: 0}, drop=True)
    return template.copy(data=low), template.copy(data=high)


def bootstrap_interval(
    values: xr.DataArray, *, dim: str = PROMPT, n: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[xr.DataArray, xr.DataArray]:
    """Percentile bootstrap interval (low, high) of the mean of ``values`` over ``dim``, same units.

    Both bounds are NaN where a value is NaN, and everywhere when ``dim`` holds fewer than two
    entries: one prompt says nothing about the spread over prompts.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rest = [d for d in values.dims if d != dim]
    ordered = values.transpose(dim, *rest)
    flat = ordered.values.reshape(ordered.sizes[dim], -1).astype(np.float64)
    bounds = np.full((2, flat.shape[1]), np.nan)
    if len(flat) > 1:
        weights = _resample_weights(len(flat), n, seed)
        tail = (1 - level) / 2
        for start in range(0, flat.shape[1], _CELLS_AT_ONCE):
            part = slice(start, start + _CELLS_AT_ONCE)
            bounds[:, part] = np.quantile(weights @ flat[:, part], [tail, 1 - tail], axis=0)
    coords = {k: c for k, c in ordered.coords.items() if dim not in c.dims}
    shape = tuple(ordered.sizes[d] for d in rest)
    low, high = (
        xr.DataArray(b.reshape(shape), dims=rest, coords=coords, attrs=values.attrs) for b in bounds
    )
    return low, high


def _resample_weights(size: int, n: int, seed: int) -> np.ndarray:
    """Row r holds how often each entry is drawn in resample r, over ``size``; rows sum to 1."""
    drawn = np.random.default_rng(seed).integers(0, size, (n, size))
    offsets = drawn + size * np.arange(n)[:, None]
    return np.bincount(offsets.ravel(), minlength=n * size).reshape(n, size) / size
