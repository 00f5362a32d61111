"""The edges that ACDC has decided on, kept in a file so that an interrupted search goes on."""

import os
import time
from pathlib import Path

import numpy as np

from mechbench.discovery.kept_prompts import work_key
from mechbench.errors import StoreError
from mechbench.graphs.topology import Graph
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

_SECONDS_BETWEEN_SAVES = 5.0


class Decided:
    """Which edges are decided, which of them are kept, and what their removal changed.

    Attributes:
        done, mask: bool ``[writer reader]``; edges that are not decided yet are in ``mask``.
        changes: ``[prompt writer reader]``, how much the metric fell.
        n_tests: how many were measured.

    Raises:
        StoreError: the file cannot be read, or was written by other work.
    """

    def __init__(
        self,
        graph: Graph,
        n_prompts: int,
        path: Path | None,
        model,
        pairs: PromptPairs,
        metric: Metric,
        rule: tuple[float, bool],
    ):
        self.path = path
        self.done = np.zeros(graph.exists.shape, dtype=bool)
        self.mask = graph.exists.copy()
        self.changes = np.zeros((n_prompts, *graph.exists.shape))
        self.n_tests = 0
        self._saved_at = time.monotonic()
        if path is not None:
            self._key = work_key(model, pairs, metric, rule)
            if path.exists():
                self._restore(path)

    def remove(self, writer: int, reader: int, change: np.ndarray | None) -> None:
        """Take an edge out; ``change`` is None where it was not measured."""
        self.mask[writer, reader] = False
        self._note(writer, reader, change)

    def keep(self, writer: int, reader: int, change: np.ndarray) -> None:
        """Leave an edge in the circuit."""
        self._note(writer, reader, change)

    def _note(self, writer: int, reader: int, change: np.ndarray | None) -> None:
        self.done[writer, reader] = True
        if change is not None:
            self.changes[:, writer, reader] = change
            self.n_tests += 1

    def save_sometimes(self) -> None:
        """Save if the last time is a few seconds ago."""
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write what is decided, atomically; nothing without a file.

        Raises:
            StoreError: the file cannot be written.
        """
        if self.path is None:
            return
        self._saved_at = time.monotonic()
        partial = self.path.with_suffix(".partial.npz")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") as file:
                np.savez_compressed(
                    file,
                    key=self._key,
                    done=self.done,
                    mask=self.mask,
                    changes=self.changes,
                    n_tests=self.n_tests,
                )
            os.replace(partial, self.path)
        except OSError as error:
            raise StoreError(
                f"The checkpoint {self.path} cannot be written ({error.strerror}). Free some space "
                "or choose another folder."
            ) from error

    def _restore(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                key = str(file["key"])
                done, mask, changes = file["done"], file["mask"], file["changes"]
                n_tests = int(file["n_tests"])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"Checkpoint {path.name} cannot be read ({error}). Delete it to begin anew."
            ) from error
        if key != self._key:
            raise StoreError(
                f"The checkpoint {path.name} was written by other work: another model, task, "
                "metric or threshold. Give another path, or delete it to start anew."
            )
        self.done, self.mask, self.changes, self.n_tests = done, mask, changes, n_tests
