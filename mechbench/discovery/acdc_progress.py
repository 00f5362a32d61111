"""The edges that ACDC has decided on, kept in a file so that an interrupted search goes on."""

from pathlib import Path

import numpy as np

from mechbench.discovery.kept_prompts import work_key
from mechbench.graphs.topology import Graph
from mechbench.interventions.kept_file import KeptFile
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs


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
        self.done = np.zeros(graph.exists.shape, dtype=bool)
        self.mask = graph.exists.copy()
        self.changes = np.zeros((n_prompts, *graph.exists.shape))
        self.n_tests = 0
        self._file: KeptFile | None = None
        if path is not None:
            key = work_key(model, pairs, metric, rule)
            self._file = KeptFile(path, key, "metric or threshold")
            self._restore(self._file)

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
        if self._file is not None and self._file.due:
            self.save()

    def save(self) -> None:
        """Write what is decided, atomically; nothing without a file.

        Raises:
            StoreError: the file cannot be written.
        """
        if self._file is not None:
            self._file.write(
                done=self.done,
                mask=self.mask,
                changes=self.changes[:, self.done],
                n_tests=np.array(self.n_tests),
            )

    def _restore(self, file: KeptFile) -> None:
        found = file.read("done", "mask", "changes", "n_tests")
        if found is not None:
            self.done, self.mask, changes, n_tests = found
            self.changes[:, self.done] = changes
            self.n_tests = int(n_tests)
