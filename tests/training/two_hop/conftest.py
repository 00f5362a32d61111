"""The tokenizer of the two-hop models, a small world, and a recipe small enough for a test."""

import pytest
from tokenizers import Tokenizer

from mechbench.resources import bundled
from mechbench.training.corpora import corpus_of
from mechbench.training.recipe import Recipe, recipe_from
from mechbench.training.two_hop.corpus import TwoHopCorpus


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(bundled("data") / "tokenizers" / "twohop" / "tokenizer.json"))


TINY = {
    "name": "tiny-two-hop",
    "steps": 5,
    "tokenizer": "twohop",
    "model": {
        "variant": "looped",
        "n_blocks": 1,
        "n_loops": 2,
        "n_heads": 2,
        "d_model": 8,
        "d_mlp": 16,
        "n_ctx": 16,
    },
    "corpus": {
        "kind": "two_hop",
        "rows": 20,
        "repeat_share": 0.25,
        "n_entities": 12,
        "n_relations": 5,
        "ood_share": 0.2,
    },
    "optimiser": {"learning_rate": 0.01, "warmup_steps": 2, "weight_decay": 0.1},
    "evaluation": {"every": 2, "prompts": 16},
    "checkpoint_every": 2,
    "snapshots": [0, 4],
}


def with_corpus(**changes) -> Recipe:
    return recipe_from(TINY | {"corpus": TINY["corpus"] | changes})


@pytest.fixture
def tiny() -> Recipe:
    return with_corpus()


@pytest.fixture
def corpus(tiny, tokenizer) -> TwoHopCorpus:
    return corpus_of(tiny, tokenizer)
