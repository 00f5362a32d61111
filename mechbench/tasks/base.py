"""What every task offers, whatever it is about."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs


class Task(Protocol):
    """Prompts, their corruptions and a metric.

    Attributes:
        name: as in the registry and in results.
        clean: token ids ``[prompt pos]``.
        corruptions: the names that ``pairs`` takes.
        source: JSON-able provenance.
    """

    @property
    def name(self) -> str: ...
    @property
    def clean(self) -> Tensor: ...
    @property
    def corruptions(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> Mapping[str, Any]: ...

    def __len__(self) -> int:
        """How many prompts there are."""
        ...

    def pairs(self, corruption: str = ..., /) -> PromptPairs:
        """The clean prompts and one corruption of them; tasks may take further options."""
        ...

    def metric(self) -> Metric:
        """The task's usual metric; tasks may offer others through options."""
        ...
