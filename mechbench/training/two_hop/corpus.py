"""The training text of the two-hop models: chains, single facts and repetitions of a world.

    <bos> {r2} {r1} {e1} is {e3}                 two hops, read at `is`
    <bos> the {r} {e} {e'}                       one hop, read at the entity
    <bos> a : a , b : b , c : c , x : x          a repetition, read at each colon

Only the last word, or the word after a colon, is trained. The entity of one and of two hops stands
at the same position. The rows of a step are a function of the seed and the step alone.
"""

from hashlib import sha256
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from mechbench.errors import TokenizerError
from mechbench.tasks.two_hop_world import World
from mechbench.training.corpus_kind import Batch
from mechbench.training.tokenizer import BOS

OneHop = Literal["entity", "is"]
"""Where the answer of one hop is read: at the entity itself, or at an ``is`` that follows it."""

T1 = 3
"""The position of the entity, in one hop and in two."""
T2 = 4
"""The position of ``is``."""
N_REPEATED = 4
REPEAT_LENGTH = 4 * N_REPEATED


class TwoHopCorpus:
    """Batches of two hops, of one hop and of repetitions; each row begins with BOS.

    Of the rows of a step the share ``repeat_share`` repeats entities, and of the others every fifth
    is one hop. Two hops are of the world's chains of the kind ``train`` alone, one hop is of any
    fact, each drawn uniformly. Source: our choice.

    Args:
        rows: of one step.
        one_hop: with ``"is"`` a row of one hop is ``the {r} {e} is {e'}``.

    Raises:
        TokenizerError: a word that is not one token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: int,
        world: World,
        rows: int,
        one_hop: OneHop = "entity",
        repeat_share: float = 0.05,
    ):
        self.world, self.seed, self.one_hop = world, seed, one_hop
        self.n_repeat = round(repeat_share * rows)
        self.n_one = round((rows - self.n_repeat) / 5)
        self.n_two = rows - self.n_repeat - self.n_one
        self._bos: int = tokenizer.encode(BOS).ids[0]
        self.entities = _ids(tokenizer, world.entities)
        self.relations = _ids(tokenizer, world.relations)
        self._the, self._is, self._colon, self._comma = _ids(tokenizer, ("the", "is", ":", ","))

    def batches(self, step: int) -> tuple[Batch, ...]:
        """Two hops, one hop, repetitions: what there is of them in this step."""
        rng = np.random.default_rng([self.seed, step])
        chains = self.world.chains("train")
        facts = rng.integers(self.world.facts.shape, size=(self.n_one, 2))
        found = (
            self.two_hops(chains[rng.integers(len(chains), size=self.n_two)]),
            self.one_hops(facts),
            self.repetitions(_distinct(rng, self.n_repeat, self.world.n_entities)),
        )
        return tuple(batch for batch in found if len(batch.ids))

    def data_hash(self, steps: int) -> str:
        """SHA-256 of the ids of the first ``steps`` steps, as little-endian int32."""
        digest = sha256()
        for step in range(steps):
            for batch in self.batches(step):
                digest.update(batch.ids.astype("<i4").tobytes())
        return digest.hexdigest()

    def two_hops(self, chains: np.ndarray) -> Batch:
        """Rows of chains ``[row 3]``, of (e1, r1, r2), with their answers."""
        e1, r1, r2 = chains.T
        e3 = self.world.ends(chains)[:, 2]
        relations = self.relations
        return self._rows(relations[r2], relations[r1], self.entities[e1], self._is, e3)

    def one_hops(self, facts: np.ndarray) -> Batch:
        """Rows of facts ``[row 2]``, of (entity, relation), with their answers."""
        entity, relation = facts.T
        words = [self._the, self.relations[relation], self.entities[entity]]
        words += [self._is] if self.one_hop == "is" else []
        return self._rows(*words, self.world.facts[entity, relation])

    def repetitions(self, repeated: np.ndarray) -> Batch:
        """Rows that repeat each entity of ``[row 4]`` once."""
        ids = np.empty((len(repeated), REPEAT_LENGTH), dtype=np.int64)
        ids[:, 0], ids[:, 4::4] = self._bos, self._comma
        ids[:, 1::4] = ids[:, 3::4] = self.entities[repeated]
        ids[:, 2::4] = self._colon
        scored = np.zeros_like(ids, dtype=bool)
        scored[:, 3::4] = True
        return Batch(ids, scored)

    def _rows(self, *words: np.ndarray) -> Batch:
        """BOS, the ids of the words and, last, the entity that is the answer."""
        columns = np.broadcast_arrays(self._bos, *words[:-1], self.entities[words[-1]])
        ids = np.stack(columns, axis=1).astype(np.int64)
        scored = np.zeros_like(ids, dtype=bool)
        scored[:, -1] = True
        return Batch(ids, scored)


def _distinct(rng: np.random.Generator, n: int, n_entities: int) -> np.ndarray:
    """``n`` rows of different entities."""
    return rng.random((n, n_entities)).argsort(axis=1)[:, :N_REPEATED]


def _ids(tokenizer: Tokenizer, words: tuple[str, ...]) -> np.ndarray:
    ids = [tokenizer.encode(f" {word}", add_special_tokens=False).ids for word in words]
    split = [word for word, found in zip(words, ids, strict=True) if len(found) != 1]
    if split:
        raise TokenizerError(
            f"{split[0]!r} and {len(split) - 1} more words of the world are not one token each: "
            "train with the tokenizer of these models (tokenizer: twohop)."
        )
    return np.array([found[0] for found in ids])
