"""Name-copying: ``Then Anna and Mark came, and Mark told Anna``. The last name is scored."""

from functools import cache

import numpy as np
from tokenizers import Tokenizer

from mechbench.tasks.ioi_texts import NAMES, PLACES, TEMPLATES, THINGS
from mechbench.training.mixed.segments import Segments, constant, join, line_end, part, token_ids
from mechbench.training.mixed.words import SHORT_TEMPLATES

HELD_OUT_SHARE = 1 / 8
SHORT_SHARE = 0.7
_FIRST, _SECOND, _SUBJECT, _PLACE, _THING = -1, -2, -3, -4, -5
_FIELDS = {"{A}": _FIRST, "{B}": _SECOND, "{S}": _SUBJECT, "{place}": _PLACE, "{thing}": _THING}


class NameSegments:
    """Two names, then one of them, then the other: templates of the task ``ioi`` and shorter ones.

    Seven in ten segments are of the shorter sort; either name may be the one that comes again. A
    guess is between the two names. Held out: one in eight pairs of names, in either order.
    """

    name = "names"
    chance = 1 / 2

    def __init__(self, tokenizer: Tokenizer):
        self._end = line_end(tokenizer)
        self._names = token_ids(tokenizer, NAMES)
        self._places, self._things = token_ids(tokenizer, PLACES), token_ids(tokenizer, THINGS)
        rows = [_template_ids(tokenizer, template) for template in (*TEMPLATES, *SHORT_TEMPLATES)]
        self.shortest = min(map(len, rows)) + 2
        self._length = np.array([len(row) for row in rows])
        self._templates = np.zeros((len(rows), self._length.max()), dtype=np.int64)
        for filled, row in zip(self._templates, rows, strict=True):
            filled[: len(row)] = row

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` sentences with pairs of names that training shows, or with held-out pairs."""
        short = rng.random(n) < SHORT_SHARE
        n_short = len(SHORT_TEMPLATES)
        n_long = len(self._templates) - n_short
        which = np.where(
            short, n_long + rng.integers(n_short, size=n), rng.integers(n_long, size=n)
        )
        pairs = name_pairs(held_out)
        first, second = self._names[pairs[rng.integers(len(pairs), size=n)]].T
        order = rng.random(n) < 0.5
        subject, answer = np.where(order, first, second), np.where(order, second, first)
        ids = self._templates[which]
        for field, tokens in (
            (_FIRST, first),
            (_SECOND, second),
            (_SUBJECT, subject),
            (_PLACE, self._places[rng.integers(len(self._places), size=n)]),
            (_THING, self._things[rng.integers(len(self._things), size=n)]),
        ):
            ids = np.where(ids == field, tokens[:, None], ids)
        sentence = part(ids, np.arange(ids.shape[1]) < self._length[which, None])
        return join([sentence, part(answer[:, None], scored=True), constant(self._end, n)])


@cache
def name_pairs(held_out: bool) -> np.ndarray:
    """Ordered pairs of indices into ``NAMES``; a pair and its reverse are on the same side."""
    n = len(NAMES)
    chosen = np.random.default_rng(0).random((n, n)) < HELD_OUT_SHARE
    upper = np.triu(chosen, 1)
    side = (upper | upper.T) == held_out
    np.fill_diagonal(side, False)
    return np.argwhere(side)


def _template_ids(tokenizer: Tokenizer, template: str) -> list[int]:
    """The template's ids, with negative numbers where its fields are."""
    ids: list[int] = []
    for i, word in enumerate(template.split()):
        field, comma = word.removesuffix(","), word.endswith(",")
        if field in _FIELDS:
            ids.append(_FIELDS[field])
        else:
            ids.append(int(token_ids(tokenizer, [field], space=" " if i else "")[0]))
        if comma:
            ids.append(int(token_ids(tokenizer, [","], space="")[0]))
    return ids
