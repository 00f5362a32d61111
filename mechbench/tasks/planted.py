"""The tasks of planted circuits, by name."""

from collections.abc import Callable
from typing import Any

from mechbench.resources import PLANTED, planted
from mechbench.tasks.base import Task


def _task_of(name: str) -> Callable[..., Task]:
    def build(tokenizer: Any = None, n: int = 32, *, seed: int = 0) -> Task:
        """Prompts of a planted circuit: ids of its own small vocabulary, without a tokenizer."""
        return planted(name, n=n, seed=seed).task

    return build


PLANTED_TASKS = {name: _task_of(name) for name in PLANTED}
