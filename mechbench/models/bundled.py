"""mechbench's own model folders: the ones that ship with it, and those that ``train`` writes.

A folder holds ``model.safetensors`` (the model's state dict) and ``config.json``::

    {"format": 1, "variant": "gpt2", "config": {...}, "tokenizer": "acronyms", "summary": "...",
     "snapshots": [{"step": 200, "file": "snapshots/step-000200.safetensors"}, ...]}

``tokenizer`` names a folder of ``data/tokenizers``; a ``tokenizer.json`` beside the config goes
first. ``summary`` and ``snapshots`` may be absent.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch

from mechbench.errors import CheckpointError, MechbenchError, ModelNotFoundError, TokenizerError
from mechbench.models.base import HookedModel
from mechbench.models.checkpoint import (
    WeightFiles,
    fill,
    identity_tensors,
    open_files,
    open_folder,
    raise_problems,
    read_json,
    tensor_problems,
)
from mechbench.models.registry import variant
from mechbench.models.spec import VariantSpec
from mechbench.models.tokenizer import read_tokenizer
from mechbench.resources import bundled

_FORMAT = 1
_KEYS = {"format", "variant", "config", "tokenizer", "summary", "snapshots"}


@dataclass(frozen=True)
class BundledModel:
    """A line of ``mechbench models``; ``snapshots`` are training steps."""

    name: str
    summary: str
    snapshots: tuple[int, ...]


@dataclass(frozen=True)
class ModelFolder:
    """A checked ``config.json``; ``snapshots`` maps a training step to its file."""

    path: Path
    spec: VariantSpec
    config: Any
    tokenizer: str | None
    summary: str
    snapshots: Mapping[int, Path]


def models_folder() -> Path:
    """Where the bundled models are."""
    return bundled("data") / "models"


def bundled_models() -> list[BundledModel]:
    """The models that ship with mechbench, by name."""
    found = []
    for path in sorted(models_folder().glob("*/config.json")):
        folder = read_model_folder(path.parent)
        steps = tuple(sorted(folder.snapshots))
        found.append(BundledModel(path.parent.name, folder.summary, steps))
    return found


def is_model_folder(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is of mechbench's own format."""
    return "variant" in config and "model_type" not in config


def read_model_folder(path: Path) -> ModelFolder:
    """The description in a folder's ``config.json``.

    Raises:
        CheckpointError: with everything in it that is missing, unknown or of the wrong type.
    """
    values = read_json(path / "config.json")
    problems = [f"key {key!r} is not known" for key in sorted(values.keys() - _KEYS)]
    if values.get("format") != _FORMAT:
        problems.append(f"format = {values.get('format')!r}; this version reads format {_FORMAT}")
    tokenizer, summary = values.get("tokenizer"), values.get("summary", "")
    for key, value in (("tokenizer", tokenizer), ("summary", summary)):
        if value is not None and not isinstance(value, str):
            problems.append(f"{key} = {value!r}, which must be text")
    snapshots = _snapshots(path, values.get("snapshots", []), problems)
    spec = config = None
    try:
        spec = variant(str(values.get("variant")))
        config = _config(spec, values.get("config"), problems)
    except ModelNotFoundError as error:
        problems.append(str(error))
    raise_problems(path / "config.json", problems)
    assert spec is not None and config is not None
    if not summary:
        summary = f"{spec.name}, {config.n_layers} layers, {config.n_heads} heads"
    return ModelFolder(path, spec, config, tokenizer, summary, snapshots)


def read_own(
    folder: ModelFolder, snapshot: int | None, model_name: str, dtype: torch.dtype
) -> tuple[HookedModel, WeightFiles]:
    """A model with the weights of a folder, and the files they are in.

    Raises:
        CheckpointError: no such snapshot, or weights that do not fit.
    """
    if snapshot is None:
        files = open_folder(folder.path)
    elif snapshot in folder.snapshots:
        files = open_files([folder.snapshots[snapshot]])
    else:
        steps = ", ".join(str(step) for step in sorted(folder.snapshots)) or "none"
        raise CheckpointError(
            f"{model_name!r} has no snapshot of step {snapshot}. Its snapshots: {steps}."
        )
    model = folder.spec.build_empty(folder.config, model_name, dtype)
    stored = identity_tensors(model)
    raise_problems(files.paths[0], tensor_problems(stored, files))
    fill(model, stored, files)
    return model, files


def own_tokenizer(folder: ModelFolder) -> Any | None:
    """The tokenizer beside the weights, or the bundled one that the config names.

    Raises:
        TokenizerError: it cannot be read, or the config names one that does not ship with
            mechbench.
    """
    beside = read_tokenizer(folder.path)
    if beside is not None or folder.tokenizer is None:
        return beside
    shipped = read_tokenizer(bundled("data") / "tokenizers" / folder.tokenizer)
    if shipped is None:
        raise TokenizerError(
            f"{folder.path / 'config.json'} names the tokenizer {folder.tokenizer!r}, which is not "
            f"in {bundled('data') / 'tokenizers'}. Put a tokenizer.json beside the weights."
        )
    return shipped


def _config(spec: VariantSpec, values: Any, problems: list[str]) -> Any:
    if not isinstance(values, dict):
        problems.append("config is missing or is not an object")
        return None
    hints = get_type_hints(spec.config)
    known = {field.name: field for field in fields(spec.config)}
    before = len(problems)
    for name, value in values.items():
        if name not in known:
            problems.append(f"config.{name} is not known to the variant {spec.name!r}")
        elif not _is_of(value, hints[name]):
            problems.append(f"config.{name} = {value!r} must be of type {hints[name]}")
    for name, field in known.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if name not in values and not optional:
            problems.append(f"config.{name} is missing")
    if len(problems) > before:
        return None
    try:
        return spec.config(**values)
    except MechbenchError as error:
        problems.append(str(error))
        return None


def _is_of(value: Any, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _snapshots(path: Path, entries: Any, problems: list[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        match entry:
            case {"step": int(step), "file": str(file), **rest} if not rest and step not in found:
                found[step] = path / file
            case _:
                problems.append(f"snapshot {entry!r} is not {{'step': number, 'file': name}}")
    return found
