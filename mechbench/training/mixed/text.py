"""Filler text: a fixed bigram language over the filler words. Nothing of it is scored."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.tasks.words import read_words
from mechbench.training.bigrams import BigramText
from mechbench.training.mixed.segments import Segments, constant, join, line_end, part, token_ids

SHORTEST, LONGEST = 6, 20


class TextSegments:
    """``river road and then the`` and a line break: 6 to 20 words."""

    name = "text"
    shortest = SHORTEST + 1
    chance = None

    def __init__(self, tokenizer: Tokenizer):
        self._bigrams = BigramText(token_ids(tokenizer, read_words("fillers")))
        self._end = line_end(tokenizer)

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` lines; held-out ones are fresh draws from the same language."""
        length = rng.integers(SHORTEST, LONGEST + 1, size=(n, 1))
        words = part(self._bigrams.draw(rng, n, LONGEST), np.arange(LONGEST) < length)
        return join([words, constant(self._end, n)])

    def exactly(self, rng: np.random.Generator, lengths: np.ndarray) -> Segments:
        """Lines of given lengths, the line break included; a length of 0 is no line at all."""
        n, longest = len(lengths), int(lengths.max(initial=1))
        words = part(self._bigrams.draw(rng, n, longest), np.arange(longest) < lengths[:, None] - 1)
        end = part(np.full((n, 1), self._end), lengths[:, None] > 0)
        return join([words, end])
