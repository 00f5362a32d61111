"""What every result is: labelled arrays, plain values, and where they came from.

A result type is a frozen keyword-only dataclass below :class:`Result`. Its fields are
``xarray.DataArray``s or plain values (None, bool, int, float, str and lists, tuples and dicts of
these). Subclassing registers the type, so that ``load_result`` finds it by name.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import xarray as xr

from mechbench.results.codec import encode

_ARRAY_KINDS = "biufU"
_RESERVED_ATTRS = frozenset(
    {"dtype", "coordinates", "_FillValue", "missing_value", "scale_factor", "add_offset"}
)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a result came from: enough to run it again and to see what changed since.

    ``model_revision`` is the SHA-256 of a checkpoint file or the hub's revision; ``processing``
    says how weights were changed after loading ("none", "fold_ln+center"); ``created`` is ISO 8601
    in UTC; ``versions`` maps package to version; ``git`` is the revision of this source tree.
    """

    model: str
    model_revision: str
    processing: str
    task: str
    task_seed: int | None
    n_prompts: int
    seed: int
    dtype: str
    device: str
    versions: dict[str, str]
    wall_time_s: float
    created: str
    spec_hash: str | None = None
    git: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Base of all results. ``attrs`` of an array hold units, long_name and the meaning of a sign.

    Raises
        TypeError on construction, where a field cannot be stored.
    """

    provenance: Provenance

    registry: ClassVar[dict[str, type["Result"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = Result.registry.get(cls.__name__)
        if known is not None and known.__module__ != cls.__module__:
            raise TypeError(
                f"two result types called {cls.__name__!r}, in {known.__module__} and "
                f"{cls.__module__}: stored results name their type, so rename one"
            )
        Result.registry[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, value in self.field_values().items():
            _check_storable(f"{type(self).__name__}.{name}", value)

    def field_values(self) -> dict[str, Any]:
        """Field name to value, without the provenance."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "provenance"}

    def field_arrays(self) -> dict[str, xr.DataArray]:
        """Field name to labelled array, for the fields that are arrays."""
        return {k: v for k, v in self.field_values().items() if isinstance(v, xr.DataArray)}

    def identical(self, other: object) -> bool:
        """True where type, values, labels, attributes and provenance agree (NaN equals NaN)."""
        if type(self) is not type(other) or not isinstance(other, Result):
            return False
        mine, theirs = self.field_values(), other.field_values()
        if (
            encode_plain(self) != encode_plain(other)
            or self.field_arrays().keys() != other.field_arrays().keys()
        ):
            return False
        return all(
            mine[k].dtype == theirs[k].dtype and mine[k].identical(theirs[k])
            for k in self.field_arrays()
        )

    def save(self, folder: Path | str) -> Path:
        """The folder, after the result was written to it (see ``mechbench.results.io``)."""
        from mechbench.results.io import save_result

        return save_result(self, Path(folder))


def encode_plain(result: Result) -> dict[str, Any]:
    """The fields of ``result`` that are not arrays, and its provenance, as strict JSON data."""
    plain = {k: v for k, v in result.field_values().items() if not isinstance(v, xr.DataArray)}
    provenance = {f.name: getattr(result.provenance, f.name) for f in fields(result.provenance)}
    return {"values": encode(plain), "provenance": encode(provenance)}


def _check_storable(name: str, value: Any) -> None:
    if not isinstance(value, xr.DataArray):
        try:
            encode(value)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from error
        return
    for label, part in [("values", value), *value.coords.items()]:
        if part.dtype.kind not in _ARRAY_KINDS:
            raise TypeError(
                f"{name}: {label!r} has dtype {part.dtype}; an array of a result holds bool, "
                "integer, float or str values (for strings, make it with dtype=str)"
            )
        for key, attr in part.attrs.items():
            if key in _RESERVED_ATTRS or isinstance(attr, bool):
                raise TypeError(f"{name}: attribute {key!r} of {label!r} cannot be stored")
            if not isinstance(attr, str | int | float):
                raise TypeError(f"{name}: attribute {key!r} of {label!r} is not str, int or float")
