"""Run many interventions on one task with one metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.interventions.patches import Cell
from mechbench.interventions.receipts import Receipt
from mechbench.interventions.reference import reference_values
from mechbench.interventions.runs import Runs
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PatchedMetric:
    """What ``run_patches`` returns; tensors on the CPU.

    Attributes:
        values: the metric with each cell's patches, ``[cell prompt answer]``.
        base: the metric without patches, ``[prompt answer]``.
        receipt: what was done.
    """

    values: Tensor
    base: Tensor
    receipt: Receipt


@torch.inference_mode()
def run_patches(
    model,
    pairs: PromptPairs,
    cells: Sequence[Cell],
    metric: Metric,
    *,
    direction: str = "noise",
    runs: Runs | None = None,
    budget_bytes: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> PatchedMetric:
    """The metric under each cell of patches, exactly as if every cell ran by itself.

    Args:
        direction: ``"noise"`` patches the clean run, ``"denoise"`` the corrupted one. A source
            says itself which run it reads.
        runs: cached runs of the same model and pairs, to share between calls.
        budget_bytes: memory that the work may take; by default a quarter of what is free.
        progress: called with (cells done, cells in all).
        checkpoint: a file that keeps finished chunks, so that an interrupted call goes on there.

    Raises:
        TaskError: no cells.
        HookNameError, UnsupportedHookError: a site that this model or task does not have.
        NumericsError: NaN or infinite logits.
        MemoryBudgetError: one cell alone does not fit in memory.
    """
    if not cells:
        raise TaskError("No patches were given: name at least one site.")
    runs = runs or Runs(model, pairs, direction)
    metric = metric.to(model.cfg.device)
    for cell in cells:
        for patch in cell:
            if patch.source.run:
                runs.need(patch.source.run, [patch.site.hook_name])
    base = metric(model.answer_logits(runs.base_tokens, metric.positions, metric.vocab))
    values = reference_values(model, runs, cells, metric)
    if progress:
        progress(len(cells), len(cells))
    return PatchedMetric(values.cpu(), base.cpu(), Receipt(method="reference", n_cells=len(cells)))
