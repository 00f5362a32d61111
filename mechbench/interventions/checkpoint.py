"""Finished cells of an interrupted call, kept in one file."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mechbench.errors import StoreError
from mechbench.interventions.patches import Cell
from mechbench.interventions.runs import Runs
from mechbench.interventions.sources import Function, Source, Value
from mechbench.models.fingerprint import weight_fingerprint
from mechbench.tasks.metrics import Metric

_SECONDS_BETWEEN_SAVES = 5.0


class Checkpoint:
    """Saves and restores values by cell; refuses the file of other work."""

    def __init__(self, path: Path, model, runs: Runs, cells: Sequence[Cell], metric: Metric):
        self.path = path
        self.key = _key(model, runs, cells, metric)
        self._saved_at = time.monotonic()

    def restore(self, values: Tensor) -> set[int]:
        """Fill in what the file holds; returns the finished cells.

        Raises:
            StoreError: the file cannot be read, or was written by other work.
        """
        if not self.path.exists():
            return set()
        try:
            with np.load(self.path, allow_pickle=False) as file:
                key, done, kept = str(file["key"]), file["done"], file["values"]
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"Checkpoint {self.path.name} cannot be read ({error}). Delete it to begin anew."
            ) from error
        if key != self.key:
            raise StoreError(
                f"The checkpoint {self.path.name} was written by other work: another model, task, "
                "metric or set of patches. Give another path, or delete it to start anew."
            )
        values[torch.as_tensor(done)] = torch.as_tensor(kept).to(values)
        return set(done.tolist())

    def save_sometimes(self, values: Tensor, done: set[int]) -> None:
        """Save if the last time is a few seconds ago."""
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
            self.save(values, done)

    def save(self, values: Tensor, done: set[int]) -> None:
        """Write the finished cells, atomically.

        Raises:
            StoreError: the file cannot be written; an earlier one stays as it was.
        """
        self._saved_at = time.monotonic()
        order = sorted(done)
        partial = self.path.with_suffix(".partial.npz")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") as file:
                kept = values[order].double().cpu().numpy()
                np.savez(file, key=self.key, done=np.array(order, dtype=np.int64), values=kept)
            os.replace(partial, self.path)
        except OSError as error:
            raise StoreError(
                f"The checkpoint {self.path} cannot be written ({error.strerror}). Free some space "
                "or choose another folder with --out; finished results are kept."
            ) from error


def _told(source: Source) -> str:
    """What identifies a source; of a function, its name."""
    if isinstance(source, Value):
        return hashlib.sha256(source.tensor.cpu().contiguous().numpy().tobytes()).hexdigest()
    if isinstance(source, Function):
        return f"{source.fn.__module__}.{source.fn.__qualname__}"
    return repr(source)


def _key(model, runs: Runs, cells: Sequence[Cell], metric: Metric) -> str:
    told = f"{weight_fingerprint(model)} {runs.base} {metric.name}"
    digest = hashlib.sha256(told.encode())
    for tokens in (runs.pairs.clean, runs.pairs.corrupt, metric.positions):
        digest.update(tokens.cpu().numpy().tobytes())
    for cell in cells:
        for patch in cell:
            digest.update(f"{patch.site!r} {_told(patch.source)}".encode())
    return digest.hexdigest()
