"""The filler language of the training texts: bigrams over the filler words."""

import numpy as np

_SUCCESSORS = 8


class BigramText:
    """Chains of tokens in which each of eight successors is half as likely as the one before it.

    The language is one; only the draws from it depend on a seed. Source: our choice.
    """

    def __init__(self, fillers: np.ndarray):
        self._fillers = fillers
        n = len(fillers)
        self._successors = np.random.default_rng(0).integers(n, size=(n, _SUCCESSORS))

    def draw(self, rng: np.random.Generator, n: int, length: int) -> np.ndarray:
        """``n`` chains of ``length`` tokens, ``[n length]``."""
        states = np.empty((n, length), dtype=np.int64)
        states[:, 0] = rng.integers(len(self._fillers), size=n)
        rank = np.minimum(rng.geometric(0.5, size=(n, length)), _SUCCESSORS) - 1
        for i in range(1, length):
            states[:, i] = self._successors[states[:, i - 1], rank[:, i]]
        return self._fillers[states]
