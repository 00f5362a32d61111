"""Shared by the tests of the multiple-choice corpus."""

import pytest
from tokenizers import Tokenizer

from mechbench.resources import bundled
from mechbench.training.recipe import recipe_from

TINY = {
    "name": "tiny",
    "steps": 5,
    "tokenizer": "mcq",
    "model": {
        "variant": "gpt2", "n_layers": 1, "n_heads": 2, "d_model": 16, "d_mlp": 16, "n_ctx": 64
    },
    "frozen": ["mlp.b_out"],
    "corpus": {"kind": "choice", "sequences": 6, "groups": 2},
    "optimiser": {"learning_rate": 0.01},
    "evaluation": {"every": 2, "prompts": 4},
    "checkpoint_every": 2,
}  # fmt: skip


@pytest.fixture
def tiny():
    return recipe_from(TINY)


@pytest.fixture(scope="session")
def tokenizer():
    return Tokenizer.from_file(str(bundled("data") / "tokenizers" / "mcq" / "tokenizer.json"))
