"""``load_model``: every model by name or folder, whoever wrote its files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mechbench.errors import ModelNotFoundError, SpecError, TokenizerError, did_you_mean
from mechbench.models.base import HookedModel
from mechbench.models.bridge import BridgedModel, load_bridged, process_bridged
from mechbench.models.bundled import (
    bundled_models,
    is_model_folder,
    models_folder,
    own_tokenizer,
    read_model_folder,
    read_own,
)
from mechbench.models.checkpoint import open_folder, read_json
from mechbench.models.hub import GPT2_FAMILY, download
from mechbench.models.hugging_face import format_for, read_hugging_face
from mechbench.models.plain_import import SUFFIXES, load_plain
from mechbench.models.processing import Processing, process
from mechbench.models.source import ModelSource, SourceKind
from mechbench.models.tokenizer import read_tokenizer
from mechbench.resources import PLANTED, planted

__all__ = ["bundled_models", "find_device", "load_model", "usual_processing"]

_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def load_model(
    name: str | Path,
    *,
    snapshot: int | None = None,
    fold_ln: bool = False,
    center_writing_weights: bool = False,
    center_unembed: bool = False,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str | None = None,
    revision: str | None = None,
) -> HookedModel:
    """A model with its weights, its tokenizer and its provenance (``model.source``), ready to run.

    Args:
        name: a bundled model (``mechbench models`` lists them); ``gpt2``, ``gpt2-medium``,
            ``gpt2-large``, ``gpt2-xl`` or ``distilgpt2``; a planted circuit such as
            ``planted-induction``; a folder, of mechbench or of Hugging Face; an ``.npz`` or
            ``.safetensors`` file of named matrices (``mechbench.models.plain_import``); or
            ``owner/name`` of a causal language model on the Hugging Face hub. A ``Path`` always
            means a folder or a file.
        snapshot: training step, for models that ship snapshots.
        fold_ln, center_writing_weights, center_unembed: rewrite the weights so that every
            log-probability stays the same; see ``mechbench.models.processing``.
        dtype: of the weights, a torch dtype or its name.
        device: where to put it; None means ``cuda`` when there is one, else ``cpu``.
        revision: branch, tag or commit of a hub model.

    Raises:
        ModelNotFoundError: no such name or folder, or the hub has no such model or is not
            reachable.
        CheckpointError: weights or a config that cannot be read or do not fit; every problem is
            listed.
        TokenizerError: a tokenizer that cannot be read. Without any tokenizer the model loads and
            takes token ids alone.
        SpecError: an unknown dtype or device, or an option that this kind of model does not have.
    """
    processing = Processing(
        fold_ln=fold_ln,
        center_writing_weights=center_writing_weights,
        center_unembed=center_unembed,
    )
    to_dtype, to_device = _dtype(dtype), find_device(device)
    found = _locate(name, revision)
    return _read(found, snapshot, to_dtype, to_device, processing).to(to_device)


@dataclass(frozen=True)
class _Found:
    """A model's files, or none where it is constructed.

    ``path`` is a folder, or one file of named matrices. ``revision`` is a commit where they come
    from the hub.
    """

    name: str
    kind: SourceKind
    path: Path
    revision: str | None = None


def _locate(name: str | Path, revision: str | None) -> _Found:
    if isinstance(name, str):
        if (models_folder() / name / "config.json").is_file() and name == Path(name).name:
            return _Found(name, "bundled", models_folder() / name)
        if name in PLANTED:
            return _Found(name, "constructed", Path())
        if name in GPT2_FAMILY:
            folder = download(GPT2_FAMILY[name], revision)
            return _Found(name, "hub", folder, folder.name)
    path = Path(name).expanduser()
    if path.is_dir():
        return _Found(str(name), "folder", path)
    if path.is_file() and path.suffix in SUFFIXES:
        return _Found(str(name), "file", path)
    if isinstance(name, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelNotFoundError(
            f"There is no model folder {str(path)!r}. Give a folder that holds config.json and "
            f"model.safetensors, or a file of named matrices ({' or '.join(SUFFIXES)})."
        )
    if "/" not in name:
        known = [*(model.name for model in bundled_models()), *PLANTED, *GPT2_FAMILY]
        raise ModelNotFoundError(
            f"No model is called {name!r}. {did_you_mean(name, known)} Other models: a folder, or "
            "owner/name on the Hugging Face hub."
        )
    folder = download(name, revision)
    return _Found(name, "hub", folder, folder.name)


def _read(
    found: _Found,
    snapshot: int | None,
    dtype: torch.dtype,
    device: torch.device,
    processing: Processing,
) -> HookedModel:
    """The model with tokenizer and source."""
    # Weights are rewritten in single precision at least, whatever they are kept in.
    read_as = torch.promote_types(dtype, torch.float32) if processing.steps else dtype
    if found.kind == "constructed":
        _refuse_snapshot(found, snapshot)
        model = planted(found.name, n=1).model.to(read_as)
    elif found.kind == "file":
        _refuse_snapshot(found, snapshot)
        model = load_plain(found.path, dtype=read_as)
        model.source = replace(model.source, name=found.name)
    else:
        model = _read_folder(found, snapshot, read_as, device)
    if not processing.steps:
        return model
    processed = process_bridged if isinstance(model, BridgedModel) else process
    return processed(model, processing).to(dtype)


def _read_folder(
    found: _Found, snapshot: int | None, dtype: torch.dtype, device: torch.device
) -> HookedModel:
    config = read_json(found.path / "config.json")
    if is_model_folder(config):
        folder = read_model_folder(found.path)
        model, files = read_own(folder, snapshot, found.name, dtype)
        tokenizer = own_tokenizer(folder)
    else:
        _refuse_snapshot(found, snapshot)
        files = open_folder(found.path)
        tokenizer = read_tokenizer(found.path)
        if format_for(config.get("model_type")) is None:
            model = load_bridged(found.path, found.name, dtype, device, tokenizer)
        else:
            model = read_hugging_face(config, files, found.path, found.name, dtype)
    _attach_tokenizer(model, tokenizer)
    model.source = ModelSource(
        name=found.name,
        kind=found.kind,
        revision=found.revision,
        sha256=None if found.kind == "hub" else files.sha256(),
        snapshot=snapshot,
        through=model.source.through,
    )
    return model


def _attach_tokenizer(model: HookedModel, tokenizer: Any | None) -> None:
    if tokenizer is not None:
        largest = max(tokenizer.get_vocab().values())
        if largest >= model.cfg.d_vocab:
            raise TokenizerError(
                f"The tokenizer of {model.cfg.model_name!r} has ids up to {largest}, but the "
                f"model's vocabulary is {model.cfg.d_vocab}. They do not belong together."
            )
    model.tokenizer = tokenizer


def _refuse_snapshot(found: _Found, snapshot: int | None) -> None:
    if snapshot is not None:
        raise SpecError(
            f"{found.name!r} has no training snapshots: only models that mechbench trained have. "
            "Use revision= for a branch or commit of a hub model."
        )


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    known = {**_DTYPES, **{str(value): value for value in _DTYPES.values()}}
    if str(dtype) not in known:
        raise SpecError(f"dtype={dtype!r} is not known: use {', '.join(_DTYPES)}.")
    return known[str(dtype)]


def find_device(device: torch.device | str | None) -> torch.device:
    """The device of that name; of None, ``cuda`` when there is one, else ``cpu``.

    Raises:
        SpecError: no such device here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise SpecError(f"device={device!r} is not a torch device: use cpu or cuda.") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise SpecError(f"device={device!r}: no CUDA GPU is available here. Use device='cpu'.")
    return found


def usual_processing(name: str | Path) -> Processing:
    """Folded and centred where the model's architecture declares how; else as it is stored.

    No weights are read.

    Raises:
        ModelNotFoundError, CheckpointError: as ``load_model``.
    """
    found = _locate(name, None)
    if found.kind in ("file", "constructed"):
        return Processing()
    config, folded = read_json(found.path / "config.json"), False
    if is_model_folder(config):
        folder = read_model_folder(found.path)
        roles = folder.spec.roles
        folded = roles is not None and folder.config.ln_folded
    else:
        known = format_for(config.get("model_type"))
        roles = None if known is None else known[0].roles
    every = roles is not None
    return Processing(
        fold_ln=every and not folded, center_writing_weights=every, center_unembed=every
    )
