"""Words that a tokenizer splits into a spaced capital and a tail, grouped by initial letter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np
from numpy.random import Generator

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.tokens import continuation_ids, pieces


@dataclass(frozen=True, eq=False)
class WordTable:
    """Words of one token count, ordered by initial letter.

    Attributes:
        words: the texts, without their space.
        initials: ``[word]``, ascending, 0 is ``A``.
        ids: ``[word piece]``, the token of the spaced capital first.
    """

    words: tuple[str, ...]
    initials: np.ndarray
    ids: np.ndarray

    @property
    def letters(self) -> np.ndarray:
        """The initials that occur, ascending."""
        return np.unique(self.initials)

    def draw(self, rng: Generator, initials: np.ndarray) -> np.ndarray:
        """Indices of words with the given initials, uniform over the words of each letter."""
        first = np.searchsorted(self.initials, initials)
        count = np.searchsorted(self.initials, initials, side="right") - first
        assert (count > 0).all()
        return first + (rng.random(len(initials)) * count).astype(int)

    def other_letters(self, rng: Generator, letters: np.ndarray) -> np.ndarray:
        """For each letter another one, uniform over the initials that occur.

        Raises:
            TaskError: no word begins with another letter.
        """
        if not (self.letters != letters[:, None]).any(1).all():
            raise TaskError(
                f"Resampling needs words of {self.ids.shape[1]} tokens with at least two initial "
                f"letters, and there are {len(self.letters)}. Give more words with words=[...]."
            )
        return self.letters[pick_other(rng, self.letters, letters[:, None])]


def pick_other(rng: Generator, options: np.ndarray, avoid: np.ndarray) -> np.ndarray:
    """Per row of ``avoid [row n]`` an index into ``options``, uniform over those not avoided."""
    allowed = (options[None, :, None] != avoid[:, None, :]).all(-1)
    assert allowed.any(1).all()
    return np.where(allowed, rng.random(allowed.shape), -1.0).argmax(1)


def word_tables(
    tokenizer: Any, prefix: str, words: Sequence[str], spaced_capitals: np.ndarray
) -> Mapping[int, WordTable]:
    """The usable words by number of tail tokens.

    A word is usable where ``<prefix> <word>`` is the prefix, the token of the spaced capital, and
    at least one token of tail.

    Raises:
        TaskError: a word that does not begin with a capital letter.
        TokenizerError: no word is usable; some are shown with their pieces.
    """
    words = sorted(set(words))
    wrong = [word for word in words if not word or word[0] not in ascii_uppercase]
    if wrong:
        raise TaskError(f"Words must begin with a capital letter A to Z, got {wrong[:10]}.")
    rows = continuation_ids(tokenizer, prefix, [f" {word}" for word in words])
    usable: dict[int, list[tuple[str, list[int]]]] = {}
    for word, row in zip(words, rows, strict=True):
        capital = spaced_capitals[ascii_uppercase.index(word[0])]
        if row is not None and len(row) > 1 and row[0] == capital:
            usable.setdefault(len(row) - 1, []).append((word, row))
    if not usable:
        shown = {w: pieces(tokenizer, row or []) for w, row in zip(words[:5], rows, strict=False)}
        raise TokenizerError(
            f"None of {len(words)} words is a capital with its space and a tail under this "
            f"tokenizer; it splits {shown}. Give words that it splits so with words=[...]."
        )
    return {n_tail: _table(usable[n_tail]) for n_tail in sorted(usable)}


def _table(rows: Sequence[tuple[str, list[int]]]) -> WordTable:
    words = tuple(word for word, _ in rows)
    return WordTable(
        words=words,
        initials=np.array([ascii_uppercase.index(word[0]) for word in words]),
        ids=np.array([ids for _, ids in rows]),
    )
