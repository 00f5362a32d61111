"""Result of scoring how far one head's output lies in what a later head reads."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mechbench.results.base import Result

MODE, SENDER, RECEIVER = "mode", "sender", "receiver"
MODES = ("Q", "K", "V")


@dataclass(frozen=True)
class Composition:
    """One pair of heads; ``times`` is the score over the mean of Gaussian heads."""

    mode: str
    sender: str
    receiver: str
    score: float
    times: float


@dataclass(frozen=True, kw_only=True, eq=False)
class CompositionScores(Result):
    """Composition of all pairs of heads, between 0 and 1; weights only.

    ``scores`` has axes (mode sender receiver): ||W_OV of the sender times the receiver's circuit||
    over the product of both norms (Frobenius), where the circuit is W_QK for "Q", its transpose for
    "K" and W_OV for "V"; NaN where the sender is not in an earlier layer. ``control`` (draw) is the
    score of two heads of Gaussian weights of the same shape, the same for all modes; ``excess`` is
    ``scores`` minus its mean.
    """

    norms: str
    scores: xr.DataArray
    excess: xr.DataArray
    control: xr.DataArray

    def partners(self, head: str, n: int = 8) -> list[Composition]:
        """The ``n`` highest scores of which ``head`` ("2.1") is the sender or the receiver."""
        own = (self.scores[SENDER] == head) | (self.scores[RECEIVER] == head)
        flat = self.scores.where(own).stack(pair=(MODE, SENDER, RECEIVER)).dropna("pair")
        gaussian = float(self.control.mean())
        best = np.argsort(-flat.values, kind="stable")[:n]
        return [
            Composition(
                *map(str, flat["pair"].values[i]),
                score=float(flat.values[i]),
                times=float(flat.values[i]) / gaussian,
            )
            for i in best
        ]
