"""Bundled models side by side: what their cards say, and what their architectures keep."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from mechbench.errors import ModelNotFoundError, SpecError, did_you_mean
from mechbench.experiments.catalogue import bundled_entries
from mechbench.models.bundled import models_folder, read_model_folder
from mechbench.results.base import Provenance
from mechbench.results.environment import git_revision, package_versions, utc_now
from mechbench.results.model_comparison import LENGTH, MODEL, TASK, ModelComparison

LENGTHS = (1, 8, 16, 32, 64, 128, 256, 512)
_BYTES = 4  # single precision


def model_comparison(names: Sequence[str], *, lengths: Sequence[int] = LENGTHS) -> ModelComparison:
    """What the cards and configs of bundled models say, side by side.

    Args:
        names: of bundled models, each once.
        lengths: tokens after which the cache is computed.

    Raises:
        ModelNotFoundError: a name that is no bundled model's; the nearest are named.
        SpecError: no names, one twice, or lengths below 1.
    """
    known = {entry["name"]: entry for entry in bundled_entries()}
    for name in names:
        if name not in known:
            raise ModelNotFoundError(
                f"No bundled model is called {name!r}. {did_you_mean(name, known)}"
            )
    if not names or len(set(names)) < len(names) or not lengths or min(lengths) < 1:
        raise SpecError(
            f"names={list(names)} and lengths={list(lengths)}: name each model once and at least "
            "one, and give lengths of 1 or more."
        )
    entries = [known[name] for name in names]
    tasks = list(dict.fromkeys(task for entry in entries for task in entry["tasks"]))
    scores = {
        what: np.array([[_score(entry, task, what) for task in tasks] for entry in entries])
        for what in ("accuracy", "control", "n")
    }
    cards = {MODEL: list(names)}
    cost = {
        what: _array([_cost(entry, what) for entry in entries], cards, units, meaning)
        for what, units, meaning in (
            ("cache_bytes_per_token", "bytes per token", "kept in generation, measured"),
            ("n_tokens", "tokens", "measured at"),
            ("flops_per_token", "operations", "forward pass, measured"),
        )
    }
    by_task = {MODEL: list(names), TASK: tasks}
    accuracy = _array(scores["accuracy"], by_task, "share", "accuracy")
    return ModelComparison(
        architectures={entry["name"]: entry["architecture"] for entry in entries},
        corpora={entry["name"]: entry["corpus"] for entry in entries},
        configs={entry["name"]: entry["config"] for entry in entries},
        bounds=tuple(name for name in names if _folder(name).spec.cache_is_bound),
        parameters=_array([e["parameters"] for e in entries], cards, "weights", "parameters"),
        accuracy=accuracy,
        control=_array(scores["control"], by_task, "share", "accuracy of the control"),
        n_answers=_array(scores["n"], by_task, "answers", "answers scored"),
        mean_accuracy=accuracy.mean(TASK).assign_attrs(units="share", long_name="mean accuracy"),
        cache=_array(
            [[_cache(name, length) for length in lengths] for name in names],
            {**cards, LENGTH: list(lengths)},
            "bytes",
            "kept in generation, by formula",
        ),
        cache_per_token=cost["cache_bytes_per_token"],
        measured_at=cost["n_tokens"],
        flops_per_token=cost["flops_per_token"],
        provenance=_provenance(names, scores["n"]),
    )


def _folder(name: str):
    return read_model_folder(models_folder() / name)


def _score(entry: dict[str, Any], task: str, what: str) -> float:
    value = entry["tasks"].get(task, {}).get(what)
    return float("nan") if value is None else float(value)


def _cost(entry: dict[str, Any], what: str) -> float:
    return float("nan") if entry["cost"] is None else float(entry["cost"][what])


def _cache(name: str, length: int) -> float:
    folder = _folder(name)
    if length > folder.config.n_ctx:
        return float("nan")
    return float(_BYTES * folder.spec.cache_elements(folder.config, length))


def _array(values: Any, coords: dict[str, Any], units: str, meaning: str) -> xr.DataArray:
    return xr.DataArray(
        np.asarray(values, dtype=float),
        dims=tuple(coords),
        coords=coords,
        attrs={"units": units, "long_name": meaning},
    )


def _provenance(names: Sequence[str], n_answers: np.ndarray) -> Provenance:
    return Provenance(
        model=", ".join(names),
        model_revision="cards",
        processing="none",
        task="the cards",
        task_seed=None,
        n_prompts=int(np.nansum(n_answers)),
        seed=0,
        dtype="float32",
        device="none",
        versions=package_versions(),
        wall_time_s=0.0,
        created=utc_now(),
        git=git_revision(),
        notes=("numbers of the cards, measured when the models were made; nothing was run",),
    )
