"""Run many interventions on one task with one metric, exactly and without doing work twice."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mechbench.errors import MemoryBudgetError, TaskError
from mechbench.interventions.budget import free_bytes, is_out_of_memory
from mechbench.interventions.checkpoint import Checkpoint
from mechbench.interventions.full_forward import FullForward
from mechbench.interventions.patches import Cell
from mechbench.interventions.plan import Job, next_chunk, plan
from mechbench.interventions.receipts import Fired, Receipt
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site, check_extent
from mechbench.interventions.wavefront import Wavefront
from mechbench.models.hooks import matching_names
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

_log = logging.getLogger(__name__)

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
        StoreError: the checkpoint belongs to other work.
    """
    if not cells:
        raise TaskError("No patches were given: name at least one site.")
    runs = runs or Runs(model, pairs, direction)
    metric = metric.to(model.cfg.device)
    _check_sites(model, pairs, {patch.site for cell in cells for patch in cell})
    for run in ("clean", "corrupt"):
        patches = [patch for cell in cells for patch in cell if patch.source.run == run]
        runs.need(run, (patch.site.hook_name for patch in patches))
    jobs = plan(model, runs, cells, metric.positions)
    executor = (Wavefront if model.capabilities.restart_at_layer else FullForward)(
        model, runs, metric
    )
    runs.need(runs.base, executor.hook_names(jobs))
    base = executor.base
    work = _Work(model, executor, jobs, base.expand(len(cells), -1, -1).clone(), progress)
    if checkpoint is not None:
        work.resume(Checkpoint(checkpoint, runs, cells, metric))
    work.run(budget_bytes or free_bytes(model) // 4)
    return PatchedMetric(work.values.cpu(), base.cpu(), work.receipt(runs))


def _check_sites(model, pairs: PromptPairs, sites: set[Site]) -> None:
    matching_names([site.hook_name for site in sites], model.hook_dict)
    cfg = model.cfg
    for site in sites:
        n_kv_heads = cfg.n_key_value_heads or cfg.n_heads
        n_heads = n_kv_heads if site.name in ("k", "v") else cfg.n_heads
        extents = {"head": n_heads, "neuron": cfg.d_mlp, "key": pairs.n_positions}
        check_extent(site, extents)


class _Work:
    """Jobs, their values so far, and the account of how they were run."""

    def __init__(self, model, executor, jobs: list[Job], values: Tensor, progress):
        self.model, self.executor, self.jobs, self.values = model, executor, jobs, values
        self.progress = progress
        self.checkpoint: Checkpoint | None = None
        self.waiting = list(jobs)
        self.n_chunks = self.halvings = 0

    def resume(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        done = checkpoint.restore(self.values)
        self.waiting = [job for job in self.jobs if job.index not in done]

    def run(self, budget_bytes: int) -> None:
        self.budget = budget_bytes
        self._report()
        try:
            while self.waiting:
                self._run_chunk(next_chunk(self.waiting, self._cells_per_chunk()))
        finally:
            if self.checkpoint is not None:
                self.checkpoint.save(self.values, {j.index for j in self.jobs} - self._left())

    def _run_chunk(self, jobs: list[Job]) -> None:
        try:
            values = self.executor.run(jobs)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(jobs) == 1:
                raise MemoryBudgetError(
                    "One patch alone does not fit in memory. Use fewer prompts, a shorter prompt "
                    "or a smaller dtype."
                ) from error
            self.budget = min(self.budget, self._cell_bytes() * len(jobs)) // 2
            self.halvings += 1
            _log.warning("Memory ran out: going on with a budget of %d MiB.", self.budget >> 20)
            return
        self.values[[job.index for job in jobs]] = values
        self.waiting = self.waiting[len(jobs) :]
        self.n_chunks += 1
        self._report()
        if self.checkpoint is not None and self.waiting:
            self.checkpoint.save_sometimes(self.values, {j.index for j in self.jobs} - self._left())

    def _left(self) -> set[int]:
        return {job.index for job in self.waiting}

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(len(self.values) - len(self.waiting), len(self.values))

    def _cells_per_chunk(self) -> int:
        return max(1, self.budget // self._cell_bytes())

    def _cell_bytes(self) -> int:
        """What one cell keeps while its chunk runs; a block's own needs are bounded by its tile."""
        cfg = self.model.cfg
        n_prompts, n_positions = self.executor.runs.pairs.clean.shape
        restartable = self.model.capabilities.restart_at_layer
        width = 3 * cfg.d_model if restartable else 8 * cfg.d_model + 3 * cfg.d_mlp
        return n_prompts * n_positions * width * self.model.W_E.element_size()

    def receipt(self, runs: Runs) -> Receipt:
        writer, restartable = self.executor.writer, isinstance(self.executor, Wavefront)
        restarts = ("layer",) * restartable + ("position",) * any(j.offset > 0 for j in self.jobs)
        notes = []
        if not restartable:
            notes.append("this model cannot be restarted at a layer: full forward passes were run")
        elif not self.model.capabilities.restart_at_position:
            notes.append("this model cannot be restarted at a position: all positions were run")
        if self.halvings:
            notes.append(f"memory ran out: the budget was halved {self.halvings} times")
        return Receipt(
            method="wavefront" if restartable else "full forward",
            n_cells=len(self.values),
            n_unchanged=len(self.values) - len(self.jobs),
            restarts=restarts,
            fired=tuple(
                Fired(name, times, (float(writer.squares[name]) / times / len(runs.pairs)) ** 0.5)
                for name, times in writer.times.items()
            ),
            tokens=tuple(runs.base_tokens[0].tolist()),
            n_chunks=self.n_chunks,
            budget_bytes=self.budget,
            budget_halvings=self.halvings,
            notes=tuple(notes),
        )
