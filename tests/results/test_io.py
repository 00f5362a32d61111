"""Results on disk: every value comes back as it was, and damage is named."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mechbench.errors import StoreError
from mechbench.results.base import Result
from mechbench.results.io import load_result
from tests.results.provenance import PROVENANCE


@dataclass(frozen=True, kw_only=True, eq=False)
class Example(Result):
    effect: xr.DataArray
    second: xr.DataArray | None = None
    extra: object = None


def _effect(values, **attrs) -> xr.DataArray:
    return xr.DataArray(values, dims=("layer", "head"), attrs=attrs)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
DTYPES = ["bool", "int8", "uint16", "int32", "int64", "float16", "float32", "float64"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=2, max_dims=2, max_side=4))
)
TEXT_ARRAYS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=3).flatmap(
    lambda shape: st.lists(TEXT, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda flat: np.array(flat, dtype=str).reshape(shape)
    )
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT | st.integers() | st.just("$tuple"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=ARRAYS | TEXT_ARRAYS, extra=PLAIN, unit=TEXT, label=TEXT, data=st.data())
def test_what_is_loaded_is_what_was_saved(tmp_path, values, extra, unit, label, data):
    heads = data.draw(
        st.lists(TEXT, min_size=values.shape[1], max_size=values.shape[1], unique=True)
    )
    effect = xr.DataArray(
        values,
        dims=("layer", "head"),
        coords={"head": heads, "note": label, "share": ("layer", np.ones(values.shape[0]))},
        attrs={"units": unit, "n": 3, "scale": 0.5},
    )
    second = xr.DataArray(np.array([True, False]), dims="layer", coords={"layer": [5, 7]})
    saved = Example(provenance=PROVENANCE, effect=effect, second=second, extra=extra)
    loaded = load_result(saved.save(tmp_path / "r"))
    assert loaded.identical(saved)
    assert type(loaded) is Example
    assert json.dumps(repr(loaded.extra)) == json.dumps(repr(extra))
    assert {k: type(v) for k, v in loaded.effect.attrs.items()} == {
        "units": str,
        "n": int,
        "scale": float,
    }


@pytest.mark.parametrize("unit", ["seconds", "days since 2000-01-01", "ms"])
def test_units_that_look_like_times_stay_numbers(tmp_path, unit):
    saved = Example(provenance=PROVENANCE, effect=_effect(np.ones((1, 2)), units=unit))
    assert load_result(saved.save(tmp_path)).identical(saved)


def test_two_result_types_cannot_share_a_name():
    with pytest.raises(TypeError, match="two result types called 'Example'"):
        type("Example", (Result,), {"__module__": "elsewhere"})


def test_identical_sees_each_kind_of_difference():
    base = Example(provenance=PROVENANCE, effect=_effect(np.array([[1.0, np.nan]])), extra=(1,))
    assert base.identical(replace(base, effect=_effect(np.array([[1.0, np.nan]]))))
    assert not base.identical(replace(base, effect=_effect(np.array([[2.0, np.nan]]))))
    assert not base.identical(replace(base, effect=_effect(np.array([[1, 0]]))))
    assert not base.identical(replace(base, effect=base.effect.assign_attrs(units="nats")))
    assert not base.identical(replace(base, extra=[1]))
    assert not base.identical(replace(base, second=base.effect))
    assert not base.identical(replace(base, provenance=replace(PROVENANCE, seed=1)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("extra", {1, 2}),
        ("extra", [object()]),
        ("effect", _effect(np.array([[1j]]))),
        ("effect", _effect(np.array([[object()]]))),
        ("effect", _effect(np.ones((1, 1)), dtype="x")),
        ("effect", _effect(np.ones((1, 1)), flag=True)),
    ],
)
def test_what_cannot_be_stored_is_refused_when_the_result_is_made(field, value):
    values = {"effect": _effect(np.ones((1, 1))), field: value}
    with pytest.raises(TypeError, match=f"Example.{field}"):
        Example(provenance=PROVENANCE, **values)


def _saved(folder: Path) -> Path:
    return Example(provenance=PROVENANCE, effect=_effect(np.ones((2, 2)))).save(folder)


def _edit(folder: Path, **changes) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_missing_result_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="no result at"):
        load_result(tmp_path / "absent")


def test_damage_is_named(tmp_path):
    folder = _saved(tmp_path)
    arrays = next(folder.glob("*.nc"))
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="checksum"):
        load_result(folder)
    arrays.unlink()
    with pytest.raises(StoreError, match="damaged"):
        load_result(folder)
    for text in ["", "[]", "{}", '{"schema": 1}', "\x00"]:
        (folder / "result.json").write_text(text)
        with pytest.raises(StoreError, match="damaged"):
            load_result(folder)
    (folder / "result.json").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="UTF-8"):
        load_result(folder)


def test_newer_formats_and_unknown_types_and_fields_are_named(tmp_path):
    folder = _saved(tmp_path)
    _edit(folder, type="Exampel")
    with pytest.raises(StoreError, match="unknown type 'Exampel'.*'Example'"):
        load_result(folder)
    _edit(folder, type="Example", values={"second": None, "extra": None, "gone": 1})
    with pytest.raises(StoreError, match="gone.*another version"):
        load_result(folder)
    _edit(folder, schema=99)
    with pytest.raises(StoreError, match="newer.*update mechbench"):
        load_result(folder)


def test_saving_again_leaves_only_the_new_arrays(tmp_path):
    _saved(tmp_path)
    new = Example(provenance=PROVENANCE, effect=_effect(np.zeros((2, 2))))
    new.save(tmp_path)
    assert load_result(tmp_path).identical(new)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_save_keeps_the_previous_result(tmp_path, monkeypatch):
    import errno

    from mechbench.results import files

    folder = _saved(tmp_path)
    before = load_result(folder)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        Example(provenance=PROVENANCE, effect=_effect(np.zeros((2, 2)))).save(folder)
    monkeypatch.undo()
    assert load_result(folder).identical(before)
    assert len(list(tmp_path.iterdir())) == 2
