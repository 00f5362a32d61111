"""What the benchmarks share: GPT-2 small's shape with random weights, and random prompts."""

import torch

from mechbench.models.variants.gpt2 import GPT2, SMALL
from mechbench.tasks.pairs import PromptPairs

_BOS = 50256


def small_model() -> GPT2:
    """GPT-2 small's shape with seeded random weights."""
    torch.manual_seed(0)
    return GPT2(SMALL, "gpt2-small shape, random weights")


def random_pairs(n_prompts: int, length: int) -> PromptPairs:
    """Seeded pairs of random tokens, BOS first; every other token differs within a pair."""
    generator = torch.Generator().manual_seed(1)
    clean = torch.randint(0, _BOS, (n_prompts, length), generator=generator)
    corrupt = (clean + torch.randint(1, _BOS, clean.shape, generator=generator)) % _BOS
    clean[:, 0] = corrupt[:, 0] = _BOS
    return PromptPairs(
        name="random",
        clean=clean,
        corrupt=corrupt,
        answer_positions=torch.full((n_prompts, 1), length - 1),
        answers=torch.full((n_prompts, 1), 1000),
        position_labels=tuple(str(p) for p in range(length)),
        answer_labels=("answer",),
    )
