"""Two-hop queries of generated worlds: facts, kinds, positions."""

import pytest
from transformers import PreTrainedTokenizerFast

from mechbench.errors import TaskError
from mechbench.tasks.registry import build_task
from mechbench.tasks.two_hop_generated import two_hop
from mechbench.tasks.two_hop_world import World
from mechbench.training.two_hop.tokenizer import two_hop_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_object=two_hop_tokenizer(), bos_token="<|endoftext|>")


WORLD = World(20, 4)


def test_queries_are_chains_of_the_world(tokenizer):
    task = two_hop(tokenizer, 9, world=WORLD, kinds=("id_test", "ood_id"))
    entity, relation = list(WORLD.entities).index, list(WORLD.relations).index
    assert task.kinds == ("id_test",) * 9 + ("ood_id",) * 9
    seen = set()
    for query, kind in zip(task.queries, task.kinds, strict=True):
        e1, r1, r2 = entity(query.e1.name), relation(query.r1), relation(query.r2)
        e2 = int(WORLD.facts[e1, r1])
        assert (e1, r1, r2) in {tuple(c) for c in WORLD.chains(kind).tolist()}
        assert query.e2.name == WORLD.entities[e2]
        assert query.e3.name == WORLD.entities[int(WORLD.facts[e2, r2])]
        assert bool(WORLD.ood[e1, r1]) == (kind == "ood_id")
        seen.add((e1, r1, r2))
    assert len(seen) == 18


def test_one_token_a_word_and_the_entity_at_one_place(tokenizer):
    task = two_hop(tokenizer, 5, world=WORLD)
    query = task.queries[0]
    words = [tokenizer.decode([i]).strip() for i in task.clean[0].tolist()[1:]]
    assert words == [query.r2, query.r1, query.e1.name, "is"]
    for name, place in {"r2": 1, "r1": 2, "e1": 3, "t1": 3, "t2": 4}.items():
        assert task.spans[name].tolist() == [place] * 5
    assert [len(ids) for ids in task.tokens_of("first_hop")] == [4] * 5
    assert task.texts("first_hop")[0] == f"the {query.r1} {query.e1.name}"
    assert tokenizer.decode(task.answers[0]).strip() == query.e3.name
    assert len(task.answer_ids[0]) == len(task.bridge_ids[0]) == 1
    read_at_is = two_hop(tokenizer, 5, world=WORLD, one_hop="is")
    assert read_at_is.texts("first_hop")[0] == f"the {query.r1} {query.e1.name} is"


def test_seeds_and_specs(tokenizer):
    params = {"world": {"n_entities": 20, "n_relations": 4}, "n": 6, "kinds": ["id_ood"]}
    task = build_task("two_hop", tokenizer, **params)
    assert task.queries == two_hop(tokenizer, 6, world=WORLD, kinds=("id_ood",)).queries
    assert task.queries != build_task("two_hop", tokenizer, **params, seed=1).queries
    assert task.source["world"]["n_entities"] == 20
    assert len(task.partners) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "this world has"),
        ({"n": 10**6}, "give 1 to"),
        ({"kinds": ()}, "each once"),
        ({"kinds": ("train", "train")}, "each once"),
        ({"kinds": ("ood",)}, "kind='ood' is not known"),
    ],
)
def test_refusals(tokenizer, options, message):
    with pytest.raises(TaskError, match=message):
        two_hop(tokenizer, **{"world": WORLD, "n": 4, **options})
