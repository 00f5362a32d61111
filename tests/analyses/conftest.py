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
LETTERS, POSITIONS = slice(0, 26), 26  # dimensions of the planted residual stream


@pytest.fixture
def make_task():
    """``AcronymTask`` on the exact frame, with ``n`` prompts."""

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


@pytest.fixture
def planted(make_model, task):
    """1.1 copies letters 1 and 2, 2.0 copies letter 3, 0.0 attends to the token before."""
    model = make_model(n_heads=2, d_model=64, d_mlp=8, tied=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.01)
        for norm in (model.ln_final, *(n for b in model.blocks for n in (b.ln1, b.ln2))):
            norm.w.fill_(1.0)
        model.W_E[task.spaced_capitals, LETTERS] += torch.eye(26)
        model.pos_embed.W_pos[:11, POSITIONS : POSITIONS + 11] += torch.eye(11)
        model.W_U[LETTERS, task.capitals] += torch.eye(26)
        for (layer, head), letters in {(1, 1): (0, 1), (2, 0): (2,)}.items():
            attn = model.blocks[layer].attn
            attn.W_K[head, POSITIONS, 31] += 8.0
            for p in set(range(11)) - {8 + i for i in letters}:  # where it has no job: to BOS
                attn.W_Q[head, POSITIONS + p, 31] += 8.0
            for i in letters:
                attn.W_Q[head, POSITIONS + 8 + i, i] += 8.0
                attn.W_K[head, POSITIONS + 2 + 2 * i, i] += 8.0
            attn.W_V[head, LETTERS, :26] += torch.eye(26) - 1 / 26
            attn.W_O[head, :26, LETTERS] += 3 * torch.eye(26)
        for p in range(1, 11):
            model.blocks[0].attn.W_Q[0, POSITIONS + p, p] += 8.0
            model.blocks[0].attn.W_K[0, POSITIONS + p - 1, p] += 8.0
    return model
