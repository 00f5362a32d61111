"""Induction: random tokens, then the same again. All of the repeat but its first is scored."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.training.mixed.segments import Segments, constant, distinct, join, line_end, part
from mechbench.training.tokenizer import BOS

SHORTEST, LONGEST = 3, 20


class InductionSegments:
    """3 to 20 different tokens, short more often than long, said twice.

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
        length = SHORTEST + (span * rng.random((n, 1)) ** 1.5).astype(int)
        used = np.arange(LONGEST) < length
        again = part(drawn, used, np.arange(LONGEST) > 0)
        return join([part(drawn, used), again, constant(self._end, n)])
