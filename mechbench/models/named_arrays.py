"""Named matrices of one file, ``.npz`` or ``.safetensors``, and the facts stored beside them."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechbench.errors import CheckpointError

SUFFIXES = (".npz", ".safetensors")


@dataclass(frozen=True)
class NamedArrays:
    """A file's matrices by name, and its facts as text.

    Facts are the metadata of a safetensors file, and the arrays without axes of an npz file.
    """

    path: Path
    arrays: Mapping[str, Tensor]
    facts: Mapping[str, str]
    sha256: str


def read_named_arrays(path: Path) -> NamedArrays:
    """Everything in the file. Nothing is unpickled.

    Raises:
        CheckpointError: a suffix that is not known, or a file that is missing, corrupt, or holds
            Python objects.
    """
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path} must end with {' or '.join(SUFFIXES)}.")
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    arrays, facts = (_read_npz if path.suffix == ".npz" else _read_safetensors)(path)
    return NamedArrays(path, arrays, facts, hashlib.sha256(path.read_bytes()).hexdigest())


def _read_npz(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    arrays, facts = {}, {}
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            for name in file.files:
                value = file[name]
                if value.ndim == 0:
                    facts[name] = str(value.item())
                elif value.dtype.kind in "fiub":
                    arrays[name] = torch.from_numpy(value)
                else:
                    raise CheckpointError(f"{path}: {name} holds {value.dtype}, not numbers.")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        # AttributeError: numpy gives a bare array, without names, where the file is an .npy.
        raise CheckpointError(
            f"{path} is not an npz file of plain arrays: {error}. Save it with numpy.savez; "
            "Python objects in it are not opened."
        ) from error
    return arrays, facts


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file: {error}. Write or copy it again."
        ) from error
