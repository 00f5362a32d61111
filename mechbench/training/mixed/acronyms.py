"""Acronyms: ``The Ketchup Lark and Wreck (KLW)``. The letters are scored."""

import numpy as np
from tokenizers import Tokenizer

from mechbench.tasks.ioi_texts import NAMES
from mechbench.training.bigrams import BigramText
from mechbench.training.corpus import AcronymVocabulary, acronym_strings
from mechbench.training.mixed.segments import Segments, constant, join, line_end, part

MAX_LEAD = 4


class AcronymSegments:
    """Acronym strings as in the acronym models' text, with at most four words before `The`.

    A guess is among 26 letters. Held out: half of each letter's words (``data/words``); training
    sees other pairs of a capital and a tail.
    """

    name = "acronyms"
    shortest = 10
    chance = 1 / 26

    def __init__(self, tokenizer: Tokenizer):
        self._end = line_end(tokenizer)
        # A name is one token: `Mark` would not be a capital and a tail.
        self._trained = AcronymVocabulary.of(tokenizer, without=NAMES)
        self._held_out = self._trained.held_out(tokenizer)
        self._bigrams = BigramText(self._trained.fillers)

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` strings of words that training shows, or of held-out words."""
        vocabulary = self._held_out if held_out else self._trained
        ids, used, letters = acronym_strings(rng, n, vocabulary, self._bigrams, MAX_LEAD)
        leads = used[:, :MAX_LEAD].any(1)
        ids[:, MAX_LEAD] = np.where(leads, vocabulary.the, vocabulary.the_first)
        return join([part(ids, used, letters), constant(self._end, n)])
