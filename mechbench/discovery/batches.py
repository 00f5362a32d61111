"""Some prompts of a task at a time, and the metric on them alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

_CPU_TOKENS = 256  # more at a time gain no speed there, and cost memory


@dataclass(frozen=True)
class Batch:
    """Some of the prompts.

    Attributes:
        prompts: their indices among all ``n_prompts``.
        pairs: of these prompts only.
        metric: of all prompts.
    """

    prompts: Tensor
    n_prompts: int
    pairs: PromptPairs
    metric: Metric

    def __len__(self) -> int:
        return len(self.prompts)

    def positions(self, n_points: int = 1) -> Tensor:
        """Where logits are read, ``[point*prompt answer]``."""
        return self.metric.positions[self.prompts].repeat(n_points, 1)

    def values(self, logits: Tensor) -> Tensor:
        """The metric, mean over answers, ``[point prompt]``.

        Args:
            logits: ``[point*prompt answer subset]``, points slowest.
        """
        logits = logits.unflatten(0, (-1, len(self)))
        if len(self) < self.n_prompts:  # a metric knows its prompts by their place among all
            everywhere = logits.new_zeros(len(logits), self.n_prompts, *logits.shape[2:])
            logits = everywhere.index_copy(1, self.prompts, logits)
        return self.metric(logits)[:, self.prompts].mean(-1)


def batches(
    pairs: PromptPairs, metric: Metric, waiting: list[int], batch_size: int
) -> Iterator[Batch]:
    """The prompts in ``waiting`` in batches of nearly equal size, at most ``batch_size``.

    ``pairs`` and ``metric`` are on the model's device.
    """
    n_batches = -(-len(waiting) // batch_size)
    for part in torch.tensor(waiting).tensor_split(n_batches) if waiting else ():
        prompts = part.to(pairs.clean.device)
        yield Batch(prompts, len(pairs), pairs.select(prompts), metric)


def prompts_and_points(
    model, n_positions: int, n_points: int, batch_size: int | None
) -> tuple[int, int]:
    """How many prompts, and of each how many of ``n_points`` runs, to work on at once.

    ``batch_size`` runs in all; by default what takes a quarter of the free memory.

    Raises:
        TaskError: a batch size below 1.
    """
    if batch_size is not None and batch_size < 1:
        raise TaskError(f"batch_size={batch_size} must be at least 1, or None to choose it.")
    rows = batch_size or _rows_that_fit(model, n_positions)
    prompts = max(rows // n_points, 1)
    return prompts, min(rows // prompts, n_points)


def _rows_that_fit(model, n_positions: int) -> int:
    rows = _free_bytes(model) // 4 // _row_bytes(model, n_positions)
    if model.cfg.device.type == "cpu":
        rows = min(rows, _CPU_TOKENS // n_positions)
    return max(rows, 1)


def _row_bytes(model, n_positions: int) -> int:
    """What a forward and backward of one row keeps; an upper estimate."""
    cfg = model.cfg
    width = 24 * cfg.d_model + 4 * cfg.d_mlp + 4 * cfg.n_heads * n_positions
    return n_positions * cfg.n_layers * width * cfg.dtype.itemsize


def _free_bytes(model) -> int:
    if model.cfg.device.type == "cuda":
        return torch.cuda.mem_get_info(model.cfg.device)[0]
    return psutil.virtual_memory().available
