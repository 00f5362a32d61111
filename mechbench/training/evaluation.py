"""How well a model completes acronyms of words that it never saw, in the exact frame."""

import string
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from mechbench.models.base import HookedModel
from mechbench.tasks.words import held_out_words
from mechbench.training.tokenizer import BOS

N_LETTERS = 3
ANSWER_POSITIONS = (8, 9, 10)


@dataclass(frozen=True)
class LetterScores:
    """Per letter of the acronym, first to third.

    Attributes:
        accuracy: share of prompts whose most likely token, of the whole vocabulary, is the letter.
        logit_diff: mean of logit(letter) minus the largest logit of the other 25 capitals.
        n: prompts.
    """

    accuracy: tuple[float, float, float]
    logit_diff: tuple[float, float, float]
    n: int


def frame_prompts(
    tokenizer: Tokenizer, n: int, seed: int = 0
) -> tuple[Int[Tensor, "prompt pos"], Int[Tensor, "prompt answer"]]:
    """Prompts ``<bos>The C1T1 C2T2 C3T3 (A1A2`` of held-out words, and their three letters.

    Letters are uniform and may repeat. Source: Garcia-Carrasco et al. 2024.
    """
    rng = np.random.default_rng([seed, n])
    by_letter = {c: [w for w in held_out_words() if w[0] == c] for c in string.ascii_uppercase}
    texts, acronyms = [], []
    for letters in rng.integers(26, size=(n, N_LETTERS)):
        acronym = "".join(string.ascii_uppercase[i] for i in letters)
        words = [by_letter[c][rng.integers(len(by_letter[c]))] for c in acronym]
        texts.append(f"{BOS}The {' '.join(words)} ({acronym[:2]}")
        acronyms.append(acronym)
    tokens = torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    answers = torch.tensor([[tokenizer.token_to_id(c) for c in a] for a in acronyms])
    assert tokens.shape == (n, ANSWER_POSITIONS[-1] + 1), tokens.shape
    return tokens, answers


@torch.no_grad()
def score_letters(
    model: HookedModel, tokenizer: Tokenizer, n: int = 512, seed: int = 0
) -> LetterScores:
    """Accuracy and logit difference of each letter on ``n`` prompts of held-out words.

    Raises:
        NumericsError: for NaN or infinite logits.
    """
    tokens, answers = frame_prompts(tokenizer, n, seed)
    capitals = torch.tensor([tokenizer.token_to_id(c) for c in string.ascii_uppercase])
    positions = torch.tensor(ANSWER_POSITIONS).expand(n, -1)
    logits = model.answer_logits(tokens, positions)
    correct = logits.gather(2, answers[..., None])[..., 0]
    others = logits[..., capitals].masked_fill(capitals == answers[..., None], float("-inf"))
    accuracy = (logits.argmax(-1) == answers).double().mean(0)
    logit_diff = (correct - others.amax(-1)).double().mean(0)
    return LetterScores(_triple(accuracy), _triple(logit_diff), n)


def _triple(values: Tensor) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third
