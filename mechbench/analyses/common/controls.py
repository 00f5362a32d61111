"""Controls: what a patch of the same size does when it carries none of the information."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.heads import Head
from mechbench.interventions.sources import Run, Source


@dataclass(frozen=True, eq=False)
class RandomDirection(Source):
    """The clean activation plus a random vector as long as (corrupted - clean), entry by entry.

    Where the corruption changes nothing the control changes nothing. Norms are taken over the last
    axis, so every prompt, position and head has its own length. Source: our choice.
    """

    clean: Mapping[str, Tensor] = field(repr=False)  # the runs' own, which checkpoints compare
    seed: int
    run: str = "corrupt"
    _made: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        if hook_name not in self._made:
            self._made[hook_name] = self._make(hook_name, run[hook_name])
        return self._made[hook_name]

    def _make(self, hook_name: str, corrupt: Tensor) -> Tensor:
        clean = self.clean[hook_name]
        generator = torch.Generator().manual_seed(crc32(f"{hook_name} {self.seed}".encode()))
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        length = (corrupt - clean).norm(dim=-1, keepdim=True)
        return clean + noise * (length / noise.norm(dim=-1, keepdim=True))


def random_head_sets(
    heads: tuple[Head, ...], size: int, n: int, *, seed: int
) -> list[tuple[Head, ...]]:
    """``n`` sets of ``size`` of these heads, each drawn evenly and in random order."""
    generator = np.random.default_rng(seed)
    picks = [generator.permutation(len(heads))[:size] for _ in range(n)]
    return [tuple(heads[i] for i in pick) for pick in picks]
