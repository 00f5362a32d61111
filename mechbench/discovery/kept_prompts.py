"""Finished prompts of an interrupted call, kept in a folder: a file per batch."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mechbench.interventions.kept_file import KeptFile
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
        names = [f"tensor{i}" for i in range(len(tensors))]
        for path in sorted(self.folder.glob("prompts-*.npz")):
            found = self._file(path).read("prompts", *names)
            assert found is not None, path
            prompts, *kept = found
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
        values = {f"tensor{i}": t[index].cpu().numpy() for i, t in enumerate(tensors)}
        self._file(path).write(prompts=index, **values)

    def _file(self, path: Path) -> KeptFile:
        return KeptFile(path, self.key, "metric or method")


def work_key(model, pairs: PromptPairs, metric: Metric, *options: object) -> str:
    """What tells one piece of work from another; ``options`` by their ``repr``."""
    told = (weight_fingerprint(model), metric.name, *options)
    digest = hashlib.sha256(repr(told).encode())
    for tokens in (pairs.clean, pairs.corrupt, pairs.answers, metric.positions):
        digest.update(tokens.cpu().numpy().tobytes())
    return digest.hexdigest()
