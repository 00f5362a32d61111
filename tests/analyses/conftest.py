"""A tiny GPT-2 with large random weights, and acronym prompts made without a tokenizer.

Vocabulary: 0 BOS, 1..26 spaced capitals, 27..52 capitals, 53 "The", 54 " (", 55..98 word tails.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.models.variants.gpt2 import SPEC
from mechbench.tasks.acronym_frame import acronym_frame
from mechbench.tasks.acronym_task import AcronymTask
from mechbench.tasks.acronym_words import WordTable

SPACED, BARE, THE, OPEN, TAILS, N_TAILS = 1, 27, 53, 54, 55, 44


@pytest.fixture
def make_task():
    """``AcronymTask`` on the exact frame of card A1, with ``n`` prompts."""

    def make(n: int = 5, seed: int = 3) -> AcronymTask:
        rng = np.random.default_rng(seed)
        letters, tails = rng.integers(0, 26, (n, 3)), rng.integers(0, N_TAILS, (n, 3))
        frame = acronym_frame(["The"], (1, 1, 1), 1)
        ids = np.zeros((n, 11), int)
        ids[:, 1], ids[:, 8] = THE, OPEN
        ids[:, 2:8:2], ids[:, 3:8:2], ids[:, 9:] = (
            SPACED + letters,
            TAILS + tails,
            BARE + letters[:, :2],
        )
        initials = np.repeat(np.arange(26), 2)
        word_tails = TAILS + (7 * np.arange(52)) % N_TAILS
        words = tuple(f"{chr(65 + i)}{t}" for i, t in zip(initials, word_tails, strict=True))
        return AcronymTask(
            name="acronyms",
            clean=torch.tensor(ids),
            letters=torch.tensor(letters),
            words=tuple(tuple(f"{chr(65 + i)}x" for i in row) for row in letters),
            frame=frame,
            capitals=torch.arange(BARE, BARE + 26),
            spaced_capitals=torch.arange(SPACED, SPACED + 26),
            tables={1: WordTable(words, initials, np.stack([SPACED + initials, word_tails], 1))},
            against="max",
            source={"seed": seed},
        )

    return make


@pytest.fixture
def task(make_task):
    return make_task()


@pytest.fixture
def make_model():
    """A tiny GPT-2 whose weights are large enough that patches move logits by about one."""

    def make(**changes):
        torch.manual_seed(1)
        model = SPEC.build(replace(SPEC.presets["tiny"], **changes))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                leaf = name.rsplit(".", 1)[-1]
                weight.add_(torch.randn_like(weight) * (0.15 if leaf.startswith("W_") else 0.1))
        return model

    return make


@pytest.fixture
def model(make_model):
    return make_model()
