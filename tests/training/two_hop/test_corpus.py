"""The two-hop corpus, read as text: what it tells, what it never tells, what is trained."""

from collections import Counter

import numpy as np
import pytest

from mechbench.errors import SpecError, TokenizerError
from mechbench.training.corpora import corpus_of
from mechbench.training.loop import train
from mechbench.training.recipe import recipe_from
from tests.training.two_hop.conftest import TINY, with_corpus


def sentences(corpus, tokenizer, steps=range(40)):
    """(words, trained words) of every row."""
    for step in steps:
        for batch in corpus.batches(step):
            for ids, scored in zip(batch.ids, batch.scored, strict=True):
                words = tokenizer.decode(ids.tolist(), skip_special_tokens=False)
                assert words.startswith("<|endoftext|> ")
                words = words.split()[1:]
                yield words, [words[i] for i in np.flatnonzero(scored[1:])]


def names(world):
    """Facts and chains by name, by a slow loop."""
    facts = {
        (world.relations[r], world.entities[e]): world.entities[world.facts[e, r]]
        for e in range(world.n_entities)
        for r in range(world.n_relations)
    }
    chains = {
        kind: {
            (world.relations[r2], world.relations[r1], world.entities[e1])
            for e1, r1, r2 in world.chains(kind)
        }
        for kind in ("train", "id_test", "id_ood", "ood_id", "ood_ood")
    }
    return facts, chains


@pytest.mark.parametrize("one_hop", ["entity", "is"])
def test_only_facts_and_training_chains_are_told(tokenizer, one_hop):
    corpus = corpus_of(with_corpus(one_hop=one_hop), tokenizer)
    facts, chains = names(corpus.world)
    told = {"two": Counter(), "one": Counter(), "repeat": 0}
    for words, trained in sentences(corpus, tokenizer, range(150)):
        if ":" in words:
            told["repeat"] += 1
            assert words[1::4] == [":"] * 4 and words[3::4] == [","] * 3
            assert words[::4] == words[2::4] == trained and len(set(trained)) == 4
        elif words[0] == "the":
            _, r, e, *rest = words
            assert rest == (["is"] if one_hop == "is" else []) + [facts[r, e]]
            assert trained == rest[-1:]
            told["one"][r, e] += 1
        else:
            r2, r1, e1, verb, e3 = words
            assert verb == "is" and e3 == facts[r2, facts[r1, e1]] and trained == [e3]
            told["two"][r2, r1, e1] += 1
    assert set(told["one"]) == set(facts)  # of any kind
    assert set(told["two"]) == chains["train"]
    rows = 150 * 20
    assert told["repeat"] == rows * 0.25
    assert sum(told["two"].values()) == 4 * sum(told["one"].values()) == rows * 0.6


def test_the_entity_stands_at_one_position(tokenizer):
    for one_hop in ("entity", "is"):
        corpus = corpus_of(with_corpus(one_hop=one_hop, repeat_share=0), tokenizer)
        for batch in corpus.batches(0):
            assert set(batch.ids[:, 3]) <= set(corpus.entities)


def test_shares_of_a_bundled_size(tokenizer):
    corpus = corpus_of(with_corpus(rows=512, repeat_share=0.05), tokenizer)
    two, one, repeat = corpus.batches(0)
    assert len(repeat.ids) == 26 and len(one.ids) == 97 and len(two.ids) == 389
    assert (two.n_scored, one.n_scored, repeat.n_scored) == (389, 97, 104)
    assert not repeat.scored[:, 0].any()


def test_a_step_depends_on_seed_and_step_alone(tiny, tokenizer):
    def make(seed=0):
        return corpus_of(tiny.model_copy(update={"seed": seed}), tokenizer)

    one, again, other = make(), make(), make(1)
    one.batches(3)
    for a, b in zip(one.batches(7), again.batches(7), strict=True):
        assert np.array_equal(a.ids, b.ids) and np.array_equal(a.scored, b.scored)
    assert not np.array_equal(one.batches(7)[0].ids, one.batches(8)[0].ids)
    assert one.data_hash(2) == again.data_hash(2) != other.data_hash(2)
    assert np.array_equal(one.world.facts, other.world.facts)  # one world for all seeds


def test_another_tokenizer_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TokenizerError, match="tokenizer: twohop"):
        train(recipe_from(TINY | {"tokenizer": "mixed"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_wrong_recipe_is_explained():
    with pytest.raises(SpecError, match="longest row of the corpus 'two_hop' is 16, but .* 15"):
        recipe_from(TINY | {"model": TINY["model"] | {"n_ctx": 15}})
    with pytest.raises(SpecError, match="n_entities=151 is out of range"):
        with_corpus(n_entities=151)
    with pytest.raises(SpecError, match="corpus.one_hop"):
        with_corpus(one_hop="colon")
