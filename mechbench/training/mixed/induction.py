"""Induction: random tokens, then the same again. What repeats is scored, but for its first."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.training.mixed.segments import Segments, constant, distinct, join, line_end, part
from mechbench.training.tokenizer import BOS

SHORTEST, LONGEST = 3, 20
MAX_TIMES = 4


class InductionSegments:
    """3 to 20 different tokens, short more often than long, said two to four times (in all
    at most 40 tokens).

    Tokens are drawn from the whole vocabulary but BOS and the line break, as the task
    ``induction`` draws them; a guess is among those. Held out: fresh draws, which repeat none of
    training's.
    """

    name = "induction"
    shortest = 2 * SHORTEST + 1

    def __init__(self, tokenizer: Tokenizer):
        self._end = line_end(tokenizer)
        special = [tokenizer.token_to_id(BOS), self._end]
        self._pool = np.setdiff1d(np.arange(tokenizer.get_vocab_size()), special)
        self.chance = 1 / len(self._pool)

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` repeats."""
        drawn = self._pool[distinct(rng, n, len(self._pool), LONGEST)]
        span = LONGEST + 1 - SHORTEST
        length = SHORTEST + (span * rng.random((n, 1)) ** 2).astype(int)
        times = np.minimum(rng.integers(2, MAX_TIMES + 1, size=(n, 1)), 2 * LONGEST // length)
        slots = np.arange(2 * LONGEST)
        said = np.take_along_axis(drawn, slots % length, axis=1)
        return join([part(said, slots < length * times, slots > length), constant(self._end, n)])
