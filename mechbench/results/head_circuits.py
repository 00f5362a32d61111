"""Result of reading the QK and OV circuits of heads."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

CIRCUIT, SIDE, SIGN, VECTOR = "circuit", "side", "sign", "vector"
QK, OV = "QK", "OV"
READ, WRITE = "left", "right"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadCircuits(Result):
    """Two low-rank matrices per head; weights only, without biases and positions.

    QK is W_Q W_K^T (rows query, columns key), OV is W_V W_O (rows attended, columns written).

    ``singular`` (head circuit vector) are singular values, the largest first, and ``control``
    (estimate vector) the mean, 2.5 % and 97.5 % of those of Gaussian heads, in shares of the
    Frobenius norm. ``top_token`` and ``top_value`` (head circuit vector side sign rank) are the
    tokens that lie furthest along a singular vector, "+" and "-" of one vector belonging together:
    "left" is the query (QK) or the attended token (OV) through W_E, "right" the key through W_E or
    the written token through W_U. Signs are such that the largest left entry is "+".

    ``qk`` (head query key) are scores of tokens, undivided, and ``ov`` (head attended written) the
    logits written, counted from the vocabulary's mean. ``copied`` (head) is the share of attended
    tokens whose own logit is the largest of ``ov``'s columns, NaN where it is not among them.
    """

    heads: tuple[str, ...]
    chosen_by: str
    kv_heads: tuple[int, ...]
    singular: xr.DataArray
    control: xr.DataArray
    top_token: xr.DataArray
    top_value: xr.DataArray
    qk: xr.DataArray
    ov: xr.DataArray
    copied: xr.DataArray
