"""What the command line writes where: results on stdout, progress and errors on stderr."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

stdout = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def print_error(message: str) -> None:
    """One paragraph on stderr, unbroken where stderr is not a terminal."""
    paragraph = " ".join(message.split())
    stderr.print(f"Error: {paragraph}", markup=False, style="red", soft_wrap=not stderr.is_terminal)


def say(message: str) -> None:
    """A line about the progress of the work, on stderr."""
    stderr.print(message, markup=False, soft_wrap=not stderr.is_terminal)


class Bars:
    """Progress bars with the time left on a terminal; elsewhere nothing but ``say`` lines."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=stderr,
            transient=True,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def add(self, label: str, total: int | None = None) -> TaskID:
        """A new bar; without a total it only shows that something goes on."""
        return self._progress.add_task(label, total=total)

    def update(self, bar: TaskID, done: int, total: int | None = None) -> None:
        """Move a bar to ``done`` of ``total``."""
        self._progress.update(bar, completed=done, total=total)

    def remove(self, bar: TaskID) -> None:
        """Take a bar away."""
        self._progress.remove_task(bar)
