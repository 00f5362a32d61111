"""How far the arrays of two results of one kind are apart."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True)
class ArrayDifference:
    """One array of two results.

    ``problem`` says why they cannot be subtracted, and is empty where they can; then ``largest`` is
    the largest absolute difference over the ``n`` entries that both have, at the labels ``where``,
    and ``root_mean_square`` that of all of them. ``n_one_sided`` entries are NaN in one alone.
    """

    name: str
    dims: tuple[str, ...]
    units: str
    problem: str = ""
    n: int = 0
    n_one_sided: int = 0
    largest: float = 0.0
    root_mean_square: float = 0.0
    where: str = ""

    @property
    def equal(self) -> bool:
        """True where every entry is the same."""
        return not self.problem and self.largest == 0.0 and self.n_one_sided == 0


def array_differences(one: Result, other: Result) -> list[ArrayDifference]:
    """A line for each array of numbers that either result has, in the order of the fields."""
    mine, theirs = one.field_arrays(), other.field_arrays()
    names = dict.fromkeys([*mine, *theirs])
    return [
        _difference(name, mine, theirs)
        for name in names
        if any(name in arrays and arrays[name].dtype.kind in "biuf" for arrays in (mine, theirs))
    ]


def _difference(
    name: str, mine: Mapping[str, xr.DataArray], theirs: Mapping[str, xr.DataArray]
) -> ArrayDifference:
    known = mine[name] if name in mine else theirs[name]
    dims, units = tuple(map(str, known.dims)), str(known.attrs.get("units", ""))
    if name not in mine or name not in theirs:
        return ArrayDifference(name=name, dims=dims, units=units, problem="only in one of them")
    a, b = mine[name], theirs[name]
    if a.dims != b.dims or a.shape != b.shape:
        return ArrayDifference(
            name=name, dims=dims, units=units, problem=f"sizes {_sizes(a)} and {_sizes(b)}"
        )
    if any(not np.array_equal(a[dim].values, b[dim].values) for dim in a.dims):
        return ArrayDifference(name=name, dims=dims, units=units, problem="other labels")
    x, y = (values.values.astype(np.float64) for values in (a, b))
    both = np.isfinite(x) & np.isfinite(y)
    gap = np.where(both, np.abs(np.where(both, x, 0.0) - np.where(both, y, 0.0)), 0.0)
    n = int(both.sum())
    largest = float(gap.max()) if gap.size else 0.0
    return ArrayDifference(
        name=name,
        dims=dims,
        units=units,
        n=n,
        n_one_sided=int((np.isnan(x) != np.isnan(y)).sum()),
        largest=largest,
        root_mean_square=float(np.sqrt((gap**2).sum() / n)) if n else 0.0,
        where=_labels(a, np.unravel_index(int(gap.argmax()), gap.shape)) if largest else "",
    )


def _sizes(array: xr.DataArray) -> str:
    return " x ".join(f"{array.sizes[dim]} {dim}" for dim in array.dims)


def _labels(array: xr.DataArray, index: tuple) -> str:
    parts = zip(array.dims, index, strict=True)
    return ", ".join(f"{dim} {array[dim].values[i]}" for dim, i in parts)
