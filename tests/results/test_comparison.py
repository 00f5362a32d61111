"""Differences of arrays, against numbers worked out by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from mechbench.results.base import Result
from mechbench.results.comparison import array_differences
from tests.results.provenance import PROVENANCE


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared(Result):
    effect: xr.DataArray
    names: xr.DataArray
    control: xr.DataArray | None = None


def made(values, labels=("a", "b", "c"), control=None):
    coords = {"layer": [0, 1], "head": list(labels)}
    effect = xr.DataArray(values, dims=("layer", "head"), coords=coords, attrs={"units": "nats"})
    names = xr.DataArray(np.array(["x"]), dims=("word",))
    return Compared(provenance=PROVENANCE, effect=effect, names=names, control=control)


NAN = float("nan")


def test_the_largest_difference_and_where_it_is():
    one = made([[1.0, 2.0, NAN], [0.0, 0.0, 4.0]])
    other = made([[1.0, 2.5, 3.0], [0.0, -1.5, 4.0]])
    (line,) = array_differences(one, other)
    assert (line.name, line.dims, line.units) == ("effect", ("layer", "head"), "nats")
    assert (line.n, line.n_one_sided, line.largest, line.where) == (5, 1, 1.5, "layer 1, head b")
    assert line.root_mean_square == pytest.approx(np.sqrt((0.25 + 2.25) / 5))
    assert not line.equal


def test_equal_arrays():
    (line,) = array_differences(*(made([[1.0, 2.0, NAN], [0.0, 0.0, 4.0]]) for _ in range(2)))
    assert line.equal and line.where == "" and line.n == 5


def test_what_cannot_be_subtracted():
    one = made([[1.0, 2.0, 3.0]] * 2)
    (labels,) = array_differences(one, made([[1.0, 2.0, 3.0]] * 2, labels=("a", "b", "d")))
    assert labels.problem == "other labels" and not labels.equal
    (sizes,) = array_differences(one, made([[1.0, 2.0]] * 2, labels=("a", "b")))
    assert sizes.problem == "sizes 2 layer x 3 head and 2 layer x 2 head"
    control = xr.DataArray([1.0], dims=("layer",))
    _, missing = array_differences(one, made([[1.0, 2.0, 3.0]] * 2, control=control))
    assert missing.name == "control" and missing.problem == "only in one of them"
