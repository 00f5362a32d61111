"""Choosing the next token from logits."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechbench.errors import TaskError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the most likely token.
        top_k: only the k most likely tokens.
        top_p: only the fewest most likely tokens whose probabilities reach this sum.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def check(self) -> None:
        """Raises TaskError for options that mean nothing."""
        if not 0 <= self.temperature < float("inf"):
            raise TaskError(f"temperature={self.temperature} must be 0 (greedy) or more.")
        if self.top_k is not None and self.top_k < 1:
            raise TaskError(f"top_k={self.top_k} must be 1 or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise TaskError(f"top_p={self.top_p} must be above 0 and at most 1.")
        if self.temperature == 0 and (self.top_k is not None or self.top_p is not None):
            raise TaskError("top_k and top_p choose among samples: give a temperature above 0.")

    def probabilities(self, logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        """What tokens are drawn from, in float64. Temperature acts before the two cuts."""
        scaled = logits.double() / self.temperature
        if self.top_k is not None:
            smallest = scaled.topk(min(self.top_k, scaled.shape[-1])).values[:, -1:]
            scaled = scaled.masked_fill(scaled < smallest, float("-inf"))
        probs = scaled.softmax(-1)
        if self.top_p is not None:
            sorted_probs, order = probs.sort(descending=True, stable=True)
            before = sorted_probs.cumsum(-1) - sorted_probs
            cut = torch.zeros_like(probs, dtype=torch.bool)
            cut.scatter_(-1, order, before >= self.top_p)
            probs = probs.masked_fill(cut, 0.0)
        return probs / probs.sum(-1, keepdim=True)


class Draws:
    """One stream of random numbers per prompt.

    A prompt's stream depends on the seed, on its tokens, and on how many equal prompts came
    before it: the other prompts of a batch change nothing.
    """

    def __init__(self, seed: int, prompts: Sequence[Sequence[int]]):
        copies: Counter[tuple[int, ...]] = Counter()
        self._streams = []
        for prompt in map(tuple, prompts):
            key = repr((seed, copies[prompt], prompt)).encode()
            copies[prompt] += 1
            number = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
            self._streams.append(torch.Generator().manual_seed(number))

    def uniform(self, rows: Sequence[int]) -> Float[Tensor, " batch"]:
        """The next number in [0, 1) of each of these prompts."""
        numbers = [torch.rand((), generator=self._streams[i], dtype=torch.float64) for i in rows]
        return torch.stack(numbers)


def choose(
    logits: Float[Tensor, "batch vocab"], sampling: Sampling, draws: Draws, rows: Sequence[int]
) -> Int[Tensor, " batch"]:
    """One token per row; ``rows`` says whose random numbers to use."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    ends = sampling.probabilities(logits).cumsum(-1)
    at = draws.uniform(rows).to(ends.device)[:, None] * ends[:, -1:]
    # the first token whose interval ends after the number: one of probability 0 never is
    return torch.searchsorted(ends, at, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
