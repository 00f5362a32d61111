"""A recipe small enough to run in a test."""

import pytest

from mechbench.training.recipe import Recipe, recipe_from

TINY = {
    "name": "tiny",
    "seed": 0,
    "steps": 6,
    "tokenizer": "acronyms",
    "model": {
        "variant": "gpt2",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 8,
        "d_mlp": 16,
        "n_ctx": 24,
    },
    "corpus": {"sequences": 4, "sequence_length": 24},
    "optimiser": {"learning_rate": 0.01, "warmup_steps": 2, "weight_decay": 0.1},
    "evaluation": {"every": 2, "prompts": 8},
    "checkpoint_every": 2,
    "snapshots": [0, 3],
}


@pytest.fixture
def tiny_recipe() -> Recipe:
    return recipe_from(TINY)
