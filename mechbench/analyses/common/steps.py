"""One progress count and one checkpoint folder for an analysis that calls the engine many times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mechbench.results.files import make_folder

Progress = Callable[[int, int], None]


class Steps:
    """Arguments for the engine's calls, so that together they count up to ``n_cells`` once.

    Where the work is not known beforehand ``n_cells`` is an upper bound; ``finish`` jumps to it.
    ``checkpoint`` is a folder; every call keeps its finished chunks in a file of its own there.
    """

    def __init__(self, n_cells: int, progress: Progress | None, checkpoint: Path | str | None):
        self._n_cells, self._done = n_cells, 0
        self._progress = progress
        self._folder = None if checkpoint is None else make_folder(Path(checkpoint))

    def call(self, name: str, n_cells: int) -> dict[str, Any]:
        """Keyword arguments for one call of ``run_patches`` or ``sweep``."""
        start = self._done
        self._done += n_cells
        report = self._progress

        def progress(done: int, of: int) -> None:
            if report is not None:
                now = start + round(n_cells * done / max(of, 1))
                report(min(now, self._n_cells), self._n_cells)

        file = None if self._folder is None else self._folder / f"{name}.chunks"
        return {"progress": progress, "checkpoint": file}

    def advance(self) -> None:
        """Count one cell that was done outside the engine."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._n_cells)

    def finish(self) -> None:
        """Count everything as done."""
        if self._progress is not None:
            self._progress(self._n_cells, self._n_cells)
