"""Worlds: every chain by a slow loop from the definitions, splits that share nothing."""

from dataclasses import replace

import numpy as np
import pytest

from mechbench.errors import TaskError
from mechbench.tasks.two_hop_world import CHAIN_KINDS, World

WORLD = World(n_entities=12, n_relations=5, seed=3, ood_share=0.2, train_share=0.75)


def test_facts_lead_to_another_entity():
    facts = World().facts
    assert facts.shape == (100, 8)
    assert facts.min() == 0 and facts.max() == 99
    assert not (facts == np.arange(100)[:, None]).any()
    # uniform over the others: the steps cover everything
    assert len(np.unique((facts - np.arange(100)[:, None]) % 100)) == 99


def test_the_share_of_facts_that_are_told_alone():
    assert World().ood.sum() == 120
    assert WORLD.ood.sum() == 12
    assert not replace(WORLD, ood_share=0).ood.any()


def test_chains_are_those_of_a_slow_loop():
    facts, ood = WORLD.facts.tolist(), WORLD.ood.tolist()
    found = {kind: [] for kind in ("id_id", "id_ood", "ood_id", "ood_ood")}
    for e1 in range(12):
        for r1 in range(5):
            for r2 in range(5):
                e2 = facts[e1][r1]
                e3 = facts[e2][r2]
                if len({e1, e2, e3}) == 3:
                    first, second = ood[e1][r1], ood[e2][r2]
                    kind = f"{'ood' if first else 'id'}_{'ood' if second else 'id'}"
                    found[kind].append([e1, r1, r2])
    for kind in ("id_ood", "ood_id", "ood_ood"):
        assert WORLD.chains(kind).tolist() == found[kind] != []
    train, test = WORLD.chains("train").tolist(), WORLD.chains("id_test").tolist()
    assert sorted(train + test) == found["id_id"]
    assert len(train) == round(0.75 * len(found["id_id"]))


def test_kinds_share_no_chain():
    every = [tuple(chain) for kind in CHAIN_KINDS for chain in World().chains(kind).tolist()]
    assert len(every) == len(set(every))


def test_facts_of_training_chains_are_in_distribution():
    world = World()
    for kind in ("train", "id_test"):
        e1, r1, r2 = world.chains(kind).T
        e2 = world.facts[e1, r1]
        assert not world.ood[e1, r1].any() and not world.ood[e2, r2].any()
    # and every such fact is learnt as a first and as a second hop
    e1, r1, r2 = world.chains("train").T
    first = {*zip(e1.tolist(), r1.tolist(), strict=True)}
    assert len(first) == (~world.ood).sum()


def test_ends_are_the_entities_on_the_way():
    chains = WORLD.chains("id_test")
    for (e1, r1, r2), (start, bridge, end) in zip(chains, WORLD.ends(chains), strict=True):
        assert (start, bridge, end) == (e1, WORLD.facts[e1, r1], WORLD.facts[bridge, r2])


def test_a_world_is_a_function_of_its_arguments():
    for kind in CHAIN_KINDS:
        assert np.array_equal(WORLD.chains(kind), replace(WORLD).chains(kind))
    other = replace(WORLD, seed=4)
    assert not np.array_equal(other.facts, WORLD.facts)
    assert not np.array_equal(other.chains("train"), WORLD.chains("train"))


def test_names_are_different_words():
    world = World(150, 12)
    assert len({*world.entities, *world.relations}) == 162
    assert WORLD.entities == world.entities[:12] and WORLD.relations == world.relations[:5]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_entities": 151}, "n_entities=151 is out of range: a world has 3 to 150"),
        ({"n_entities": 2}, "n_entities=2 is out of range"),
        ({"n_relations": 0}, "n_relations=0 is out of range: a world has 1 to 12"),
        ({"ood_share": 1.5}, "ood_share=1.5 is no share"),
    ],
)
def test_worlds_that_cannot_be(sizes, message):
    with pytest.raises(TaskError, match=message):
        World(**sizes)


def test_an_unknown_kind_is_explained():
    with pytest.raises(TaskError, match="kind='test' is not known: use one of train, id_test"):
        WORLD.chains("test")
