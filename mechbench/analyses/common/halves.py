"""Choosing on some prompts and testing on others."""

import numpy as np

from mechbench.errors import TaskError
from mechbench.tasks.choice_task import ChoiceTask


def calibration_and_test(
    task: ChoiceTask, share: float, *, seed: int
) -> tuple[ChoiceTask, ChoiceTask]:
    """The task in two parts that have no prompt in common, drawn at random.

    Args:
        share: of the prompts that go into the first part.

    Raises:
        TaskError: a share that leaves fewer than two prompts on a side.
    """
    n = round(share * len(task))
    if not 2 <= n <= len(task) - 2:
        raise TaskError(
            f"calibration_share={share} puts {n} of {len(task)} prompts aside, and both parts need "
            "at least two. Use more prompts or another share."
        )
    order = np.random.default_rng(seed).permutation(len(task))
    return task.select(sorted(order[:n].tolist())), task.select(sorted(order[n:].tolist()))
