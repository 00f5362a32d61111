"""The sizes at which circuits are compared, and areas under what is measured at them."""

from collections.abc import Sequence

import numpy as np

from mechbench.errors import CircuitError

MIB_SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def edges_at(size: float, n_edges: int) -> int:
    """How many edges a share of all edges is, rounded down.

    Source: MIB's circuit track, which rounds down too; 0 is possible in small graphs.
    """
    return int(size * n_edges + 1e-9)  # 0.29 * 100 is 28.999...


def area(values: np.ndarray, sizes: Sequence[float], *, log: bool = False) -> np.ndarray:
    """The area under ``values [... size]`` by the trapezoid rule, ``[...]``.

    On the linear axis as MIB computes it: the range starts at the smallest size, so that values of
    1 give 0.999 over MIB's sizes, and sizes above one half weigh half. With ``log`` the axis is the
    logarithm of the size, and the area is divided by the axis' length, so that values of 1 give 1.

    Raises:
        CircuitError: fewer than two sizes, or sizes that do not grow.

    Source: MIB (Mueller et al. 2025), CPR and CMD; dividing by the length is our choice.
    """
    x = check_sizes(sizes)
    if log:
        x = np.log(x)
    total = np.trapezoid(values, x, axis=-1)
    return total / (x[-1] - x[0]) if log else total


def check_sizes(sizes: Sequence[float]) -> np.ndarray:
    """The sizes as an array.

    Raises:
        CircuitError: fewer than two, not growing, or outside 0 to 1.
    """
    x = np.asarray(sizes, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or (np.diff(x) <= 0).any() or x[0] <= 0 or x[-1] > 1:
        raise CircuitError(
            f"sizes={list(sizes)} must be two or more growing shares of all edges, each above 0 "
            "and at most 1."
        )
    return x
