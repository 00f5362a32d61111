"""Sources: what a patch writes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Run = Mapping[str, Tensor]  # activations of one run by hook name, each [prompt, *axes]


class Source(ABC):
    """Gives the activation that a patch writes; only the part at the patch's site is used.

    Subclasses are immutable and have a ``repr`` that tells them apart.

    Attributes:
        run: the run whose activations it reads: ``"clean"``, ``"corrupt"`` or None.
        whole: whether ``value`` covers all positions of the prompt, or those of ``current``.
    """

    run: str | None = None
    whole: bool = True

    @abstractmethod
    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        """The replacement for ``current``, ``[prompt, *axes]``."""


@dataclass(frozen=True)
class FromRun(Source):
    """The activation of the clean or the corrupted run: plain activation patching."""

    run: str = "corrupt"

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        return run[hook_name]


@dataclass(frozen=True)
class Zero(Source):
    """Zeros."""

    whole = False

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        return torch.zeros_like(current)


@dataclass(frozen=True)
class Mean(Source):
    """The mean over the prompts of a run, position by position.

    Source: Garcia-Carrasco et al. 2024: z(b, p) <- (1/B) sum_b z_corr(b, p).
    """

    run: str = "corrupt"

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        return run[hook_name].mean(0, keepdim=True).expand_as(run[hook_name])


@dataclass(frozen=True)
class Resample(Source):
    """The activation of another prompt of a run: a seeded permutation without fixed points."""

    run: str = "corrupt"
    seed: int = 0

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        values = run[hook_name]
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(self.seed))
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)  # one cycle: nobody is their own partner
        return values[partner.to(values.device)]


@dataclass(frozen=True, eq=False)
class Value(Source):
    """A given tensor, ``[prompt, *axes]`` over all positions of the prompt."""

    tensor: Tensor

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        return self.tensor


@dataclass(frozen=True, eq=False)
class Function(Source):
    """``fn`` of the activation that is there when the patch is applied, e.g. to scale or steer.

    ``fn`` maps ``[rows, *axes]`` to the same shape, row by row: rows of several patches and, after
    a restart, only some positions may reach it at once.
    """

    fn: Callable[[Tensor], Tensor]
    whole = False

    def value(self, hook_name: str, current: Tensor, run: Run) -> Tensor:
        return self.fn(current)
