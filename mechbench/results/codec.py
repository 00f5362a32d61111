"""Values to strict JSON and back without loss: tuples, NaN, infinities, arrays, any dict keys.

Plain JSON has no tuple, no NaN and only string keys, so these are written as small tagged objects
(``{"$tuple": [...]}``). Everything else looks as it would in hand-written JSON.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

_TUPLE, _FLOAT, _DICT, _ARRAY = "$tuple", "$float", "$dict", "$array"
_TEXT_KIND, _NUMBER_KINDS = "U", "biuf"
_SPARE = 4096  # characters: more room than this for shorter texts is a damaged file


def encode(value: Any) -> Any:
    """``value`` as strict JSON data; :func:`decode` gives back an equal value of the same types.

    Raises
        TypeError for a value that JSON cannot hold (an object, a set, a complex number).
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, list):
        return [encode(v) for v in value]
    if isinstance(value, tuple):
        return {_TUPLE: [encode(v) for v in value]}
    if isinstance(value, dict):
        return _encode_dict(value)
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    raise TypeError(
        f"a {type(value).__name__} cannot be stored as JSON; use None, bool, int, float, str, "
        "list, tuple, dict or a numpy array of these"
    )


def _encode_dict(value: dict[Any, Any]) -> Any:
    plain = all(isinstance(k, str) and not k.startswith("$") for k in value)
    if plain:
        return {k: encode(v) for k, v in value.items()}
    return {_DICT: [[encode(k), encode(v)] for k, v in value.items()]}


def _encode_array(value: np.ndarray) -> Any:
    if value.dtype.kind not in _NUMBER_KINDS + _TEXT_KIND:
        raise TypeError(f"an array of dtype {value.dtype} cannot be stored as JSON")
    flat = [encode(v) for v in value.ravel().tolist()]
    return {_ARRAY: flat, "dtype": value.dtype.str, "shape": list(value.shape)}


def decode(data: Any) -> Any:
    """The value that :func:`encode` turned into ``data``.

    Raises
        ValueError, KeyError or TypeError for tagged objects that :func:`encode` never writes.
    """
    if isinstance(data, list):
        return [decode(v) for v in data]
    if not isinstance(data, dict):
        return data
    if _ARRAY in data:
        flat = [decode(v) for v in data[_ARRAY]]
        dtype = np.dtype(data["dtype"])
        longest = max((len(v) for v in flat if isinstance(v, str)), default=1)
        if dtype.kind == _TEXT_KIND and dtype.itemsize > 4 * max(longest, _SPARE):
            raise ValueError(f"texts of at most {longest} characters in an array of {dtype}")
        return np.array(flat, dtype=dtype).reshape(data["shape"])
    if _TUPLE in data:
        return tuple(decode(v) for v in data[_TUPLE])
    if _FLOAT in data:
        return float(data[_FLOAT])
    if _DICT in data:
        return {decode(k): decode(v) for k, v in data[_DICT]}
    return {k: decode(v) for k, v in data.items()}


def dumps(value: Any, *, indent: int | None = 1) -> str:
    """``value`` as JSON text with a final newline (see :func:`encode`); None: all on one line."""
    return json.dumps(encode(value), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def loads(text: str) -> Any:
    """The value that :func:`dumps` wrote as ``text``."""
    return decode(json.loads(text))


def content_hash(value: Any) -> str:
    """SHA-256 of ``value`` as canonical JSON: the order of keys does not matter, types do."""
    text = json.dumps(encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
