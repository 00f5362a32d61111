"""Weight files: safetensors, checked by name, shape and type before anything is read."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mechbench.errors import CheckpointError
from mechbench.models.spec import StoredTensor

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_FLOATS = ("F64", "F32", "F16", "BF16")
_SHOWN = 30


@dataclass(frozen=True)
class TensorHeader:
    """What a file says about a tensor before its numbers are read; ``name`` is the file's."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class WeightFiles:
    """One or more safetensors files; ``headers`` has every tensor in them, by the name we use."""

    paths: tuple[Path, ...]
    headers: Mapping[str, TensorHeader]

    def sha256(self) -> str:
        """Digest of the files' bytes, one after another."""
        digest = hashlib.sha256()
        for path in self.paths:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def tensors(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The named tensors, one at a time, on the CPU and as stored."""
        wanted = {self.headers[name].name: name for name in names}
        for path in self.paths:
            with safe_open(path, framework="pt") as file:
                for stored in sorted(wanted.keys() & set(file.keys())):
                    yield wanted[stored], file.get_tensor(stored)

    def without_prefix(self, prefix: str) -> "WeightFiles":
        """The same files with a prefix taken off the names that have it.

        Raises:
            CheckpointError: a tensor is there with and without the prefix.
        """
        short: dict[str, TensorHeader] = {}
        for name, header in self.headers.items():
            if short.setdefault(name.removeprefix(prefix), header) is not header:
                raise CheckpointError(
                    f"{self.paths[0]} holds {name.removeprefix(prefix)!r} twice, with and without "
                    f"the prefix {prefix!r}."
                )
        return WeightFiles(self.paths, short)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: the file is missing, is not JSON, or is not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} holds no {path.name}, so it is not a model folder."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold one JSON object, not {type(values).__name__}.")
    return values


def open_folder(folder: Path) -> WeightFiles:
    """The weights of a model folder: ``model.safetensors``, or the shards its index names.

    Raises:
        CheckpointError: no safetensors file (pickled weights are refused), a shard that is missing,
            or a file that is corrupt or truncated.
    """
    if (folder / _SINGLE).is_file():
        return open_files([folder / _SINGLE])
    if (folder / _INDEX).is_file():
        shards = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise CheckpointError(f"{folder / _INDEX} names no shards (key weight_map).")
        return open_files([folder / name for name in sorted(set(shards.values()))])
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise CheckpointError(
            f"{folder} holds weights only as a Python pickle ({pickled[0]}), which can run code "
            "when it is opened, so mechbench does not open it. Convert it with transformers' "
            "save_pretrained, which writes model.safetensors."
        )
    raise CheckpointError(f"{folder} holds neither {_SINGLE} nor {_INDEX}.")


def open_files(paths: Sequence[Path]) -> WeightFiles:
    """The headers of safetensors files.

    Raises:
        CheckpointError: a file is missing, corrupt, truncated, or repeats a tensor of another.
    """
    headers: dict[str, TensorHeader] = {}
    for path in paths:
        if not path.is_file():
            raise CheckpointError(f"The weight file {path} is missing.")
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    part = file.get_slice(name)
                    if name in headers:
                        raise CheckpointError(f"{path} repeats the tensor {name!r}.")
                    headers[name] = TensorHeader(name, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} ({path.stat().st_size:,} bytes) is not a complete safetensors file: "
                f"{error}. Download or copy it again."
            ) from error
    return WeightFiles(tuple(paths), headers)


def identity_tensors(model: nn.Module) -> list[StoredTensor]:
    """What a file holds that stores a model's own state dict."""

    def parts_of(name: str):
        return lambda tensor: {name: tensor}

    return [
        StoredTensor(name=name, shape=tuple(tensor.shape), parts=parts_of(name))
        for name, tensor in model.state_dict().items()
    ]


def tensor_problems(
    expected: Sequence[StoredTensor],
    found: WeightFiles,
    *,
    ignored: str = r"(?!)",
    allowed: Iterable[str] = (),
) -> list[str]:
    """One line per tensor that is missing, unexpected, or of the wrong shape or type."""
    problems = []
    for tensor in expected:
        header = found.headers.get(tensor.name)
        if header is None:
            problems.append(f"tensor {tensor.name} is missing")
            continue
        if header.shape != tensor.shape:
            problems.append(
                f"tensor {tensor.name} has shape {list(header.shape)}, "
                f"expected {list(tensor.shape)}"
            )
        if header.dtype not in _FLOATS:
            problems.append(
                f"tensor {tensor.name} has type {header.dtype}, "
                f"expected one of {', '.join(_FLOATS)}"
            )
    known = {tensor.name for tensor in expected} | set(allowed)
    for name in found.headers:
        if name not in known and not re.fullmatch(ignored, name):
            problems.append(f"tensor {name} is not expected")
    return problems


def raise_problems(where: Path | str, problems: Sequence[str]) -> None:
    """Raises one CheckpointError with every problem, and does nothing when there is none."""
    if not problems:
        return
    shown = [f"{i}. {problem}" for i, problem in enumerate(problems[:_SHOWN], start=1)]
    if len(problems) > _SHOWN:
        shown.append(f"... and {len(problems) - _SHOWN} more of the kind")
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise CheckpointError(f"{where} cannot be loaded; it has {count}:\n  " + "\n  ".join(shown))


@torch.no_grad()
def fill(model: nn.Module, stored: Sequence[StoredTensor], files: WeightFiles) -> None:
    """Copy the stored tensors into a model, which keeps its dtype, device and memory layout."""
    targets = model.state_dict()
    unfilled = set(targets)
    by_name = {tensor.name: tensor for tensor in stored}
    for name, tensor in files.tensors(by_name):
        for target, part in by_name[name].parts(tensor).items():
            assert part.shape == targets[target].shape, (name, target, part.shape)
            targets[target].copy_(part)
            unfilled.discard(target)
    assert not unfilled, unfilled
