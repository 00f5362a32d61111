"""Generated worlds of facts, and which two-hop queries a model may learn from.

A world has entities and relations, and of every entity and relation one fact: the entity that it
leads to. Facts are learnt alone, as one hop; two hops make a chain ``(e1, r1, r2)``, which leads
from e1 by r1 to the bridge e2 and from there by r2 to e3.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mechbench.errors import TaskError
from mechbench.tasks.words import read_words

CHAIN_KINDS = ("train", "id_test", "id_ood", "ood_id", "ood_ood")


@dataclass(frozen=True)
class World:
    """Facts, and chains of two of them by kind.

    A fact leads from an entity to another one, drawn uniformly. Of all facts the share
    ``ood_share`` is out of distribution: it occurs in training as one hop only. Chains of two other
    facts, in distribution, are divided at random: ``train_share`` of them are for training
    (``train``), the others for tests (``id_test``). ``id_ood``, ``ood_id`` and ``ood_ood`` are the
    chains whose first and second fact are such; none of them is for training. In every chain e1, e2
    and e3 are distinct. Everything is a function of the arguments.

    Source: the design of Wang et al. 2024 (arXiv 2405.15071); sizes and names are our choice.

    Raises:
        TaskError: sizes for which there are no names, or shares outside 0 to 1.
    """

    n_entities: int = 100
    n_relations: int = 8
    seed: int = 0
    ood_share: float = 0.15
    train_share: float = 0.8

    def __post_init__(self) -> None:
        for name, list_name, least in (
            ("n_entities", "two-hop-entities", 3),
            ("n_relations", "two-hop-relations", 1),
        ):
            most = len(read_words(list_name))
            if not least <= getattr(self, name) <= most:
                raise TaskError(
                    f"{name}={getattr(self, name)} is out of range: a world has {least} to {most}, "
                    f"the names in data/words/{list_name}.txt."
                )
        for name in ("ood_share", "train_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise TaskError(f"{name}={getattr(self, name)} is no share: give 0 to 1.")

    @property
    def entities(self) -> tuple[str, ...]:
        """Their names, by index."""
        return read_words("two-hop-entities")[: self.n_entities]

    @property
    def relations(self) -> tuple[str, ...]:
        """Their names, by index."""
        return read_words("two-hop-relations")[: self.n_relations]

    @cached_property
    def facts(self) -> np.ndarray:
        """``int64 [entity relation]``: the entity that a relation leads to, never the same one."""
        step = self._draw(0).integers(1, self.n_entities, size=(self.n_entities, self.n_relations))
        return (np.arange(self.n_entities)[:, None] + step) % self.n_entities

    @cached_property
    def ood(self) -> np.ndarray:
        """``bool [entity relation]``: the facts that occur in training as one hop only."""
        n_facts = self.n_entities * self.n_relations
        chosen = self._draw(1).permutation(n_facts) < round(self.ood_share * n_facts)
        return chosen.reshape(self.n_entities, self.n_relations)

    def chains(self, kind: str) -> np.ndarray:
        """The chains of one of ``CHAIN_KINDS``, ``int64 [chain 3]`` of (e1, r1, r2), sorted.

        Raises:
            TaskError: an unknown kind.
        """
        if kind not in CHAIN_KINDS:
            raise TaskError(f"kind={kind!r} is not known: use one of {', '.join(CHAIN_KINDS)}.")
        return self._chains[kind]

    def ends(self, chains: np.ndarray) -> np.ndarray:
        """``int64 [chain 3]`` of (e1, e2, e3)."""
        e1, r1, r2 = chains.T
        e2 = self.facts[e1, r1]
        return np.stack([e1, e2, self.facts[e2, r2]], axis=1)

    @cached_property
    def _chains(self) -> dict[str, np.ndarray]:
        shape = (self.n_entities, self.n_relations, self.n_relations)
        every = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1)
        ends = self.ends(every)
        keep = ends[:, 0] != ends[:, 2]  # a fact never leads back to its own entity
        every, ends = every[keep], ends[keep]
        first, second = self.ood[every[:, 0], every[:, 1]], self.ood[ends[:, 1], every[:, 2]]
        known = np.flatnonzero(~first & ~second)
        trained = self._draw(2).permutation(len(known)) < round(self.train_share * len(known))
        return {
            "train": every[known[trained]],
            "id_test": every[known[~trained]],
            "id_ood": every[~first & second],
            "ood_id": every[first & ~second],
            "ood_ood": every[first & second],
        }

    def _draw(self, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.n_entities, self.n_relations, what])
