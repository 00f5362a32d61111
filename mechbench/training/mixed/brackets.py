"""Bracket matching: ``[ { } < close > ]``. The brackets after ``close`` are scored."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.training.mixed.segments import Segments, constant, join, line_end, part, token_ids
from mechbench.training.mixed.words import BRACKETS, CLOSE

MAX_DEPTH = 4
SHORTEST, LONGEST = 2, 14
OPENING_SHARE = 0.6


class BracketSegments:
    """2 to 14 brackets of three kinds, then ``close``, then what is still open is closed in order.

    At most four are open at a time, and at least one at ``close``. Before ``close`` nothing is
    scored, because another bracket could be opened; after it every bracket follows. A guess is
    among three closing brackets. Held out: fresh draws.
    """

    name = "brackets"
    shortest = SHORTEST + 3
    chance = 1 / 3

    def __init__(self, tokenizer: Tokenizer):
        self._end = line_end(tokenizer)
        self._close = int(token_ids(tokenizer, [CLOSE])[0])
        self._opening = token_ids(tokenizer, [pair[0] for pair in BRACKETS])
        self._closing = token_ids(tokenizer, [pair[1] for pair in BRACKETS])

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` bracket words."""
        length = rng.integers(SHORTEST, LONGEST + 1, size=n)
        opens_NS = rng.random((n, LONGEST)) < OPENING_SHARE
        kinds_NS = rng.integers(len(BRACKETS), size=(n, LONGEST))
        rows = np.arange(n)
        stack = np.zeros((n, MAX_DEPTH), dtype=np.int64)
        depth = np.zeros(n, dtype=np.int64)
        body = np.zeros((n, LONGEST), dtype=np.int64)
        for slot in range(LONGEST):
            exists, last = slot < length, slot == length - 1
            # One that is open when the last bracket comes would leave nothing to close.
            opens = (depth == 0) | (
                (opens_NS[:, slot] | (last & (depth == 1))) & (depth < MAX_DEPTH)
            )
            top = stack[rows, np.maximum(depth - 1, 0)]
            body[:, slot] = np.where(opens, self._opening[kinds_NS[:, slot]], self._closing[top])
            pushed = exists & opens
            stack[rows[pushed], depth[pushed]] = kinds_NS[pushed, slot]
            depth += np.where(exists, np.where(opens, 1, -1), 0)
        below = depth[:, None] - 1 - np.arange(MAX_DEPTH)
        rest = self._closing[np.take_along_axis(stack, np.maximum(below, 0), axis=1)]
        return join(
            [
                part(body, np.arange(LONGEST) < length[:, None]),
                constant(self._close, n),
                part(rest, below >= 0, scored=True),
                constant(self._end, n),
            ]
        )
