"""The tokenizer of the common corpus, and a recipe small enough to run in a test."""

import pytest
from tokenizers import Tokenizer

from mechbench.resources import bundled
from mechbench.training.recipe import Recipe, recipe_from


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(bundled("data") / "tokenizers" / "mixed" / "tokenizer.json"))


TINY = {
    "name": "tiny-mixed",
    "steps": 5,
    "tokenizer": "mixed",
    "model": {
        "variant": "gpt2",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 8,
        "d_mlp": 16,
        "n_ctx": 64,
    },
    "initial_scale": 10.0,
    "corpus": {"kind": "mixed", "sequences": 3, "sequence_length": 64},
    "optimiser": {"learning_rate": 0.01, "warmup_steps": 2, "weight_decay": 0.1},
    "evaluation": {"every": 2, "prompts": 4},
    "checkpoint_every": 2,
}


@pytest.fixture
def tiny_mixed() -> Recipe:
    return recipe_from(TINY)
