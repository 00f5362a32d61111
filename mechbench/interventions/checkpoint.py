"""Finished cells of an interrupted call, kept in one file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mechbench.interventions.kept_file import KeptFile
from mechbench.interventions.patches import Cell
from mechbench.interventions.runs import Runs
from mechbench.interventions.sources import Function, Source, Value
from mechbench.tasks.metrics import Metric


class Checkpoint:
    """Saves and restores values by cell; refuses the file of other work."""

    def __init__(self, path: Path, runs: Runs, cells: Sequence[Cell], metric: Metric):
        key = _key(runs, cells, metric)
        self._file = KeptFile(path, key, "metric or set of patches")

    def restore(self, values: Tensor) -> set[int]:
        """Fill in what the file holds; returns the finished cells.

        Raises:
            StoreError: the file cannot be read, or was written by other work.
        """
        found = self._file.read("done", "values")
        if found is None:
            return set()
        done, kept = found
        values[torch.as_tensor(done)] = torch.as_tensor(kept).to(values)
        return set(done.tolist())

    def save_sometimes(self, values: Tensor, done: set[int]) -> None:
        """Save if the last time is a few seconds ago."""
        if self._file.due:
            self.save(values, done)

    def save(self, values: Tensor, done: set[int]) -> None:
        """Write the finished cells, atomically.

        Raises:
            StoreError: the file cannot be written; an earlier one stays as it was.
        """
        order = sorted(done)
        kept = values[order].double().cpu().numpy()
        self._file.write(done=np.array(order, dtype=np.int64), values=kept)


def _told(source: Source) -> str:
    """What identifies a source; of a function, its name."""
    if isinstance(source, Value):
        return hashlib.sha256(source.tensor.cpu().contiguous().numpy().tobytes()).hexdigest()
    if isinstance(source, Function):
        return f"{source.fn.__module__}.{source.fn.__qualname__}"
    return repr(source)


def _key(runs: Runs, cells: Sequence[Cell], metric: Metric) -> str:
    digest = hashlib.sha256(f"{runs.weights} {runs.base} {metric.name}".encode())
    for tokens in (runs.pairs.clean, runs.pairs.corrupt, metric.positions):
        digest.update(tokens.cpu().numpy().tobytes())
    for cell in cells:
        for patch in cell:
            digest.update(f"{patch.site!r} {_told(patch.source)}".encode())
    return digest.hexdigest()
