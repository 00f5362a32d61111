"""One-hop facts: ``the colour of elk is teal``. The attribute is scored."""

from functools import cache

import numpy as np
from tokenizers import Tokenizer

from mechbench.training.mixed.segments import (
    Segments,
    constant,
    distinct,
    join,
    line_end,
    part,
    token_ids,
)
from mechbench.training.mixed.words import ENTITIES, FACT_END, PHRASINGS, RELATIONS

MAX_FACTS = 5
_ENTITY, _RELATION = -1, -2


class FactSegments:
    """1 to 5 facts about different entities, each in one of four phrasings, with `` ;`` after each.

    The table is fixed: an attribute for each of 32 entities and 3 relations. A guess is among a
    relation's 8 attributes. Held out: of each fact one phrasing, so that the answer must be known
    from the other three.
    """

    name = "facts"
    shortest = 5
    chance = 1 / 8

    def __init__(self, tokenizer: Tokenizer):
        self._end = line_end(tokenizer)
        self._stop = int(token_ids(tokenizer, [FACT_END])[0])
        self._entities = token_ids(tokenizer, ENTITIES)
        self._relations = token_ids(tokenizer, list(RELATIONS))
        self._attributes = np.stack([token_ids(tokenizer, a) for a in RELATIONS.values()])
        rows = [_phrasing_ids(tokenizer, phrasing) for phrasing in PHRASINGS]
        self._length = np.array([len(row) for row in rows])
        self._phrasings = np.zeros((len(rows), self._length.max()), dtype=np.int64)
        for filled, row in zip(self._phrasings, rows, strict=True):
            filled[: len(row)] = row

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` lists of facts in phrasings that training shows, or all in the held-out ones."""
        entities = distinct(rng, np.ones((n, len(ENTITIES)), dtype=bool), MAX_FACTS)
        n_facts = rng.integers(1, MAX_FACTS + 1, size=n)
        parts = [
            fact
            for i in range(MAX_FACTS)
            for fact in self._fact(rng, entities[:, i], (i < n_facts)[:, None], held_out)
        ]
        return join([*parts, constant(self._end, n)])

    def _fact(
        self, rng: np.random.Generator, entity: np.ndarray, said: np.ndarray, held_out: bool
    ) -> list[Segments]:
        n = len(entity)
        relation = rng.integers(len(RELATIONS), size=n)
        withheld = withheld_phrasings()[entity, relation]
        shown = (withheld + rng.integers(1, len(PHRASINGS), size=n)) % len(PHRASINGS)
        phrasing = withheld if held_out else shown
        ids = self._phrasings[phrasing]
        ids = np.where(ids == _ENTITY, self._entities[entity, None], ids)
        ids = np.where(ids == _RELATION, self._relations[relation, None], ids)
        attribute = self._attributes[relation, fact_table()[entity, relation]]
        return [
            part(ids, said & (np.arange(ids.shape[1]) < self._length[phrasing, None])),
            part(attribute[:, None], said, scored=True),
            part(np.full((n, 1), self._stop), said),
        ]


@cache
def fact_table() -> np.ndarray:
    """The index of the attribute, ``[entity relation]``; fixed, whatever the seed of a run."""
    n_attributes = len(next(iter(RELATIONS.values())))
    return np.random.default_rng(1).integers(n_attributes, size=(len(ENTITIES), len(RELATIONS)))


@cache
def withheld_phrasings() -> np.ndarray:
    """The index of the phrasing in which training never says a fact, ``[entity relation]``."""
    return np.random.default_rng(2).integers(len(PHRASINGS), size=(len(ENTITIES), len(RELATIONS)))


def _phrasing_ids(tokenizer: Tokenizer, phrasing: str) -> list[int]:
    fields = {"{entity}": _ENTITY, "{relation}": _RELATION}
    return [
        fields[word] if word in fields else int(token_ids(tokenizer, [word])[0])
        for word in phrasing.split()
    ]
