"""Key-value recall: ``store urn plum quilt mint ... recall urn plum``. The recalled are scored."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.tasks.words import read_words
from mechbench.training.bigrams import BigramText
from mechbench.training.mixed.segments import (
    Segments,
    constant,
    distinct,
    join,
    line_end,
    part,
    token_ids,
)
from mechbench.training.mixed.words import KEYS, RECALL, STORE, VALUES

MIN_PAIRS, MAX_PAIRS = 2, 6
MAX_QUERIES = 4


class RecallSegments:
    """2 to 6 pairs of a key and a value, then 1 to 4 times filler text and a key with its value.

    Keys are different within a segment; values and queried keys may repeat. Before each query
    stand up to ``max_gap`` words of filler text, few more often than many, so the distances from a
    pair to its query reach the length of the sequence. A guess is among the 24 values. Held out:
    fresh draws, with gaps of all lengths equally often.
    """

    name = "recall"
    shortest = 2 + 2 * MIN_PAIRS + 3
    chance = 1 / len(VALUES)

    def __init__(self, tokenizer: Tokenizer, max_gap: int):
        self._max_gap = max_gap
        self._end = line_end(tokenizer)
        self._store, self._recall = token_ids(tokenizer, [STORE, RECALL]).tolist()
        self._keys, self._values = token_ids(tokenizer, KEYS), token_ids(tokenizer, VALUES)
        self._bigrams = BigramText(token_ids(tokenizer, read_words("fillers")))

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` stores with their queries."""
        keys = self._keys[distinct(rng, np.ones((n, len(KEYS)), dtype=bool), MAX_PAIRS)]
        values = self._values[rng.integers(len(VALUES), size=(n, MAX_PAIRS))]
        n_pairs = rng.integers(MIN_PAIRS, MAX_PAIRS + 1, size=(n, 1))
        n_queries = rng.integers(1, MAX_QUERIES + 1, size=n)
        pairs = np.stack([keys, values], axis=2).reshape(n, -1)
        parts = [constant(self._store, n), part(pairs, np.arange(2 * MAX_PAIRS) < 2 * n_pairs)]
        for query in range(MAX_QUERIES):
            asked = (query < n_queries)[:, None]
            gap = (self._max_gap + 1) * rng.random((n, 1)) ** (1 if held_out else 6)
            filler = self._bigrams.draw(rng, n, self._max_gap)
            which = (rng.random((n, 1)) * n_pairs).astype(int)
            parts += [
                part(filler, asked & (np.arange(self._max_gap) < gap.astype(int))),
                part(np.full((n, 1), self._recall), asked),
                part(np.take_along_axis(keys, which, axis=1), asked),
                part(np.take_along_axis(values, which, axis=1), asked, scored=True),
            ]
        return join([*parts, constant(self._end, n)])
