"""The architectures and the bundled models, gathered from the registry and from the models' cards.

``mechbench models`` lists them, and pages compare them. No weights are read.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mechbench.models.bundled import bundled_models, models_folder, read_model_folder
from mechbench.models.registry import VARIANTS
from mechbench.models.spec import VariantSpec
from mechbench.training.kinds import kind_called


def architectures() -> list[dict[str, Any]]:
    """A JSON-able entry for each registered architecture, in the registry's order."""
    return [
        {
            "name": spec.name,
            "title": spec.title,
            "paper": spec.paper,
            "control": spec.control,
            "inspections": list(spec.inspections),
            "incremental": _incremental(spec),
            "presets": list(spec.presets),
        }
        for spec in VARIANTS
    ]


def bundled_entries() -> list[dict[str, Any]]:
    """A JSON-able entry for each bundled model, by name; scores are those of its card."""
    return [_entry(model.name, model.summary, model.snapshots) for model in bundled_models()]


def _incremental(spec: VariantSpec) -> str:
    """Whether generation goes on from what is remembered: "yes", "no" or "in some forms"."""
    claims = {
        spec.build_empty(config, spec.name, torch.float32).capabilities.incremental
        for name, config in spec.presets.items()
        if name.startswith("tiny")
    }
    if len(claims) > 1:
        return "in some forms"
    return "yes" if claims == {True} else "no"


def _entry(name: str, summary: str, snapshots: tuple[int, ...]) -> dict[str, Any]:
    path = models_folder() / name
    folder = read_model_folder(path)
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    control = metrics.get("control")
    return {
        "name": name,
        "architecture": folder.spec.name,
        "summary": summary,
        "parameters": metrics["parameters"],
        "bytes": sum(file.stat().st_size for file in _weights(path)),
        "snapshots": list(snapshots),
        "control": control["name"] if control else None,
        "corpus": metrics["recipe"]["corpus"]["kind"],
        "tasks": _tasks(metrics, control),
        "cost": metrics.get("cost"),
        "measured": metrics.get("measured", []),
        "config": _plain(asdict(folder.config)),
        "card": str(path / "card.md"),
    }


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """With lists for tuples, as JSON has them."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in config.items()
    }


def _weights(folder: Path) -> list[Path]:
    """The files of the final model; those of snapshots are not counted."""
    return sorted(folder.glob("*.safetensors"))


def _tasks(metrics: dict[str, Any], control: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Accuracy by task, beside the control's; of a model of one task, the mean over answers.

    ``n`` is how many answers were scored; None where the card says it of several sets together.
    """
    shipped = metrics["seeds"][0]
    kind = kind_called(metrics["recipe"]["corpus"]["kind"])
    if not kind.compared:
        n_answers = len(shipped["accuracy"])
        mean = sum(shipped["accuracy"]) / n_answers
        n = n_answers * metrics["test"]["prompts"]
        return {kind.name: {"accuracy": mean, "control": None, "n": n}}
    names = kind.compared[0]
    beside = dict(zip(control[names], control["accuracy"], strict=True)) if control else {}
    scored = shipped.get("answers", [None] * len(shipped[names]))
    return {
        name: {"accuracy": accuracy, "control": beside.get(name), "n": n}
        for name, accuracy, n in zip(shipped[names], shipped["accuracy"], scored, strict=True)
    }
