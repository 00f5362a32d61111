"""Results on disk: ``result.json`` and, for the arrays, one netCDF file with a group per field.

``result.json`` names the array file and its SHA-256, and is replaced last, so a folder always holds
one whole result: the old one or the new one.
"""

import hashlib
import io
import json
import pkgutil
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import mechbench.results
from mechbench.errors import StoreError, did_you_mean
from mechbench.results.base import Provenance, Result, encode_plain
from mechbench.results.codec import decode
from mechbench.results.files import read_text, store_error, write_atomically

SCHEMA = 1
RESULT_FILE = "result.json"
PARTIAL_FOLDER = "so-far"  # in a step's checkpoint: the result as far as it is known
_VALUES = "values"


def save_result(result: Result, folder: Path) -> Path:
    """``folder``, after it holds ``result``; a result that was there before is replaced whole.

    Raises
        StoreError where the folder cannot be written; what was there before is then unchanged.
    """
    arrays = result.field_arrays()
    header: dict[str, Any] = {
        "schema": SCHEMA,
        "type": type(result).__name__,
        **encode_plain(result),
        "arrays": None,
    }
    if arrays:
        content = _netcdf_bytes(arrays)
        digest = hashlib.sha256(content).hexdigest()
        file = write_atomically(folder / f"arrays-{digest[:12]}.nc", content)
        header["arrays"] = {
            "file": file.name,
            "sha256": digest,
            "dtypes": {name: _dtypes(array) for name, array in arrays.items()},
        }
    text = json.dumps(header, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / RESULT_FILE, text)
    _remove_replaced(folder, keep=header["arrays"]["file"] if arrays else None)
    return folder


def load_result(folder: Path | str) -> Result:
    """The result that was saved in ``folder``, of the type it had.

    Raises
        StoreError where there is none, it is damaged, its type is unknown, or it was written by
        a newer mechbench.
    """
    folder = Path(folder)
    header = _read_header(folder)
    cls = _result_type(header["type"], folder)
    try:
        values = decode(header["values"])
        provenance = Provenance(**decode(header["provenance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, error) from error
    values |= _read_arrays(folder, header["arrays"])
    known = {f.name for f in fields(cls)} - {"provenance"}
    if set(values) - known:
        raise StoreError(
            f"The result in {str(folder)!r} has fields that {cls.__name__} does not have "
            f"({', '.join(sorted(set(values) - known))}): it was written by another version of "
            "mechbench. Use that version, or run the step again."
        )
    try:
        return cls(provenance=provenance, **values)
    except TypeError as error:
        raise _damaged(folder, error) from error


def load_provenance(folder: Path | str) -> Provenance:
    """Where the result that was saved in ``folder`` came from, without reading its arrays.

    Raises
        StoreError as ``load_result``.
    """
    folder = Path(folder)
    try:
        return Provenance(**decode(_read_header(folder)["provenance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, error) from error


def _read_header(folder: Path) -> dict[str, Any]:
    text = read_text(folder / RESULT_FILE, "result")
    try:
        header = json.loads(text)
        schema = header["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise StoreError(
                f"The result in {str(folder)!r} has format {schema}, newer than the format "
                f"{SCHEMA} that this mechbench reads: update mechbench."
            )
        return {key: header[key] for key in ("type", "values", "provenance", "arrays")}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def _result_type(name: str, folder: Path) -> type[Result]:
    for module in pkgutil.iter_modules(mechbench.results.__path__):
        import_module(f"mechbench.results.{module.name}")
    if name not in Result.registry:
        raise StoreError(
            f"The result in {str(folder)!r} has the unknown type {name!r}. "
            + did_you_mean(str(name), Result.registry)
        )
    return Result.registry[name]


def _netcdf_bytes(arrays: dict[str, xr.DataArray]) -> bytes:
    tree = xr.DataTree.from_dict({f"/{k}": _dataset(v) for k, v in arrays.items()})
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def _dataset(array: xr.DataArray) -> xr.Dataset:
    dataset = array.to_dataset(name=_VALUES)
    for name in dataset.variables:
        variable = dataset[name]
        if variable.dtype == np.float16:  # netCDF has no half precision; float32 holds it exactly
            dataset[name] = variable.astype(np.float32)
        if variable.dtype.kind == "f":
            dataset[name].encoding["_FillValue"] = None
    return dataset


def _dtypes(array: xr.DataArray) -> dict[str, str]:
    named = {_VALUES: array.dtype.str}
    return named | {str(name): coord.dtype.str for name, coord in array.coords.items()}


def _read_arrays(folder: Path, listed: dict[str, Any] | None) -> dict[str, xr.DataArray]:
    if listed is None:
        return {}
    path = folder / listed["file"]
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise _damaged(folder, error) from error
    except OSError as error:
        raise store_error("read", path, error) from error
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise StoreError(
            f"The arrays in {str(path)!r} are damaged: their checksum differs from the one that "
            "was stored. Delete the folder and run the step again."
        )
    tree = xr.open_datatree(
        io.BytesIO(content),
        engine="h5netcdf",
        # A unit such as "seconds" must not turn numbers into dates.
        decode_times=False,
        decode_timedelta=False,
        mask_and_scale=False,
    )
    try:
        tree.load()
        return {
            name: _restored(tree[name].to_dataset(), dtypes)
            for name, dtypes in listed["dtypes"].items()
        }
    finally:
        tree.close()


def _restored(dataset: xr.Dataset, dtypes: dict[str, str]) -> xr.DataArray:
    """The array as it was, dtypes and Python attributes included."""
    variables = {}
    for name, variable in dataset.variables.items():
        attrs = {k: v.item() if isinstance(v, np.generic) else v for k, v in variable.attrs.items()}
        values = variable.values.astype(np.dtype(dtypes[str(name)]))
        variables[name] = (variable.dims, values, attrs)
    values = variables.pop(_VALUES)
    return xr.DataArray(values[1], dims=values[0], attrs=values[2], coords=variables)


def _remove_replaced(folder: Path, keep: str | None) -> None:
    for path in folder.glob("arrays-*.nc"):
        if path.name != keep:
            path.unlink(missing_ok=True)


def _damaged(folder: Path, error: Exception) -> StoreError:
    return StoreError(
        f"The result in {str(folder)!r} is damaged ({type(error).__name__}: {error}): "
        "delete the folder and run the step again."
    )
