"""Finished prompts of an interrupted call, kept in a folder: a file per batch."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.errors import StoreError
from mechbench.models.fingerprint import weight_fingerprint
from mechbench.results.files import make_folder
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs


class KeptPrompts:
    """Saves and restores tensors whose first axis is the prompt; refuses files of other work."""

    def __init__(self, folder: Path | str, key: str):
        self.folder, self.key = make_folder(Path(folder)), key

    def restore(self, *tensors: Tensor) -> set[int]:
        """Fill in what the folder holds; returns the finished prompts.

        Raises:
            StoreError: a file that cannot be read, or that other work has written.
        """
        done: set[int] = set()
        for path in sorted(self.folder.glob("prompts-*.npz")):
            try:
                with np.load(path, allow_pickle=False) as file:
                    key, prompts = str(file["key"]), file["prompts"]
                    kept = [file[f"tensor{i}"] for i in range(len(tensors))]
            except (OSError, ValueError, KeyError) as error:
                raise StoreError(
                    f"Checkpoint {path.name} cannot be read ({error}). Delete it to begin anew."
                ) from error
            if key != self.key:
                raise StoreError(
                    f"The checkpoint {path.name} was written by other work: another model, task, "
                    "metric or method. Give another folder, or empty it to begin anew."
                )
            for tensor, values in zip(tensors, kept, strict=True):
                tensor[torch.as_tensor(prompts)] = torch.as_tensor(values).to(tensor)
            done.update(prompts.tolist())
        return done

    def save(self, prompts: Iterable[int], *tensors: Tensor) -> None:
        """Write these prompts' entries of every tensor, atomically.

        Raises:
            StoreError: the file cannot be written; earlier ones stay as they were.
        """
        index = np.array(sorted(prompts), dtype=np.int64)
        path = self.folder / f"prompts-{index[0]:06d}-{index[-1]:06d}.npz"
        values: dict[str, Any] = {
            f"tensor{i}": t[index].cpu().numpy() for i, t in enumerate(tensors)
        }
        partial = path.with_suffix(".partial")
        try:
            with open(partial, "wb") as file:
                np.savez(file, key=np.array(self.key), prompts=index, **values)
            os.replace(partial, path)
        except OSError as error:
            raise StoreError(
                f"The checkpoint {path} cannot be written ({error.strerror}). Free some space or "
                "choose another folder with --out; finished prompts are kept."
            ) from error


def work_key(model, pairs: PromptPairs, metric: Metric, *options: object) -> str:
    """What tells one piece of work from another; ``options`` by their ``repr``."""
    told = (weight_fingerprint(model), metric.name, *options)
    digest = hashlib.sha256(repr(told).encode())
    for tokens in (pairs.clean, pairs.corrupt, pairs.answers, metric.positions):
        digest.update(tokens.cpu().numpy().tobytes())
    return digest.hexdigest()
