"""Induction: random tokens, then the same again. What repeats is scored, but for its first."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.tasks.ioi_texts import NAMES
from mechbench.training.mixed.segments import (
    Segments,
    constant,
    distinct,
    join,
    line_end,
    part,
    token_ids,
)
from mechbench.training.mixed.words import KEYS, VALUES
from mechbench.training.tokenizer import BOS

SHORTEST, LONGEST = 3, 20
MAX_TIMES = 4
COMMON_SHARE = 0.5


class InductionSegments:
    """3 to 20 different tokens, short more often than long, said two to four times (in all
    at most 40 tokens).

    Half of the segments draw their tokens from the whole vocabulary but BOS and the line break, as
    the task ``induction`` does, and half from the words that other tasks copy, names, keys and
    values: copying begins with few words. A guess is among the whole vocabulary. Held out: fresh
    draws from it, which repeat none of training's.
    """

    name = "induction"
    shortest = 2 * SHORTEST + 1

    def __init__(self, tokenizer: Tokenizer):
        self._end = line_end(tokenizer)
        special = [tokenizer.token_to_id(BOS), self._end]
        self._pool = np.setdiff1d(np.arange(tokenizer.get_vocab_size()), special)
        copied = [*NAMES, *KEYS, *VALUES]
        self._common = np.isin(self._pool, token_ids(tokenizer, copied))
        self.chance = 1 / len(self._pool)

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` repeats."""
        allowed = np.ones((n, len(self._pool)), dtype=bool)
        if not held_out:
            allowed[rng.random(n) < COMMON_SHARE] = self._common
        drawn = self._pool[distinct(rng, allowed, LONGEST)]
        span = LONGEST + 1 - SHORTEST
        length = SHORTEST + (span * rng.random((n, 1)) ** 2).astype(int)
        times = np.minimum(rng.integers(2, MAX_TIMES + 1, size=(n, 1)), 2 * LONGEST // length)
        slots = np.arange(2 * LONGEST)
        said = np.take_along_axis(drawn, slots % length, axis=1)
        return join([part(said, slots < length * times, slots > length), constant(self._end, n)])
