"""Unfinished work on disk: arrays in one file, which belongs to a key."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from mechbench.errors import StoreError

_SECONDS_BETWEEN_SAVES = 5.0


class KeptFile:
    """Arrays of work that may be interrupted, in one ``.npz`` file.

    ``key`` tells one piece of work from another; ``apart`` says in words, for the message that
    refuses a file, what does so besides the model and the task.
    """

    def __init__(self, path: Path, key: str, apart: str):
        self.path, self.key, self.apart = path, key, apart
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last write is a few seconds ago."""
        return time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES

    def read(self, *names: str) -> tuple[np.ndarray, ...] | None:
        """These arrays, or None where there is no file yet.

        Raises:
            StoreError: the file cannot be read, or was written by other work.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                key, found = str(file["key"]), tuple(file[name] for name in names)
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(
                f"Checkpoint {self.path.name} cannot be read ({error}). Delete it to begin anew."
            ) from error
        if key != self.key:
            raise StoreError(
                f"The checkpoint {self.path.name} was written by other work: another model, task, "
                f"{self.apart}. Give another path, or delete it to start anew."
            )
        return found

    def write(self, **arrays: np.ndarray) -> None:
        """Replace the file, atomically.

        Raises:
            StoreError: the file cannot be written; an earlier one stays as it was.
        """
        self._saved_at = time.monotonic()
        partial = self.path.with_suffix(".partial")
        contents: dict[str, Any] = {"key": np.array(self.key), **arrays}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") as file:
                np.savez(file, **contents)
            os.replace(partial, self.path)
        except OSError as error:
            raise StoreError(
                f"The checkpoint {self.path} cannot be written ({error.strerror}). Free some space "
                "or choose another folder with --out; finished results are kept."
            ) from error
