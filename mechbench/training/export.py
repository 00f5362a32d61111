"""From finished training runs to the folder that ships a model.

    data/models/<name>/
      config.json        variant, its config, tokenizer, list of snapshots
      model.safetensors  weights of the shipped seed
      snapshots/         the same run's weights on the way, half precision
      metrics.json       every number of the card
      card.md            what the model is, for a reader

``python -m mechbench.training.export RUN [RUN ...] FOLDER`` ships the first run; the others are
further seeds of the same recipe and appear in the card.
"""

import json
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mechbench.errors import StoreError
from mechbench.models.base import HookedModel
from mechbench.training import checkpoints
from mechbench.training.card import render_card
from mechbench.training.evaluation import score_letters
from mechbench.training.loop import corpus_of, initial_model
from mechbench.training.model_folder import (
    WEIGHTS,
    snapshot_file,
    snapshot_steps,
    write_model,
)
from mechbench.training.recipe import Recipe, recipe_from

TEST_SEED = 1  # the scores during training use seed 0
TEST_PROMPTS = 4096
HASHED_BATCHES = 10


@dataclass(frozen=True)
class _FinishedRun:
    folder: Path
    recipe: Recipe
    model: HookedModel
    metrics: list[dict[str, Any]]


def export_model(runs: list[Path], folder: Path, *, test_prompts: int = TEST_PROMPTS) -> None:
    """Write the model folder of ``runs[0]``; the other runs are further seeds of its recipe.

    The card's scores are measured here, on ``test_prompts`` prompts that training never saw.

    Raises:
        StoreError: a run is not finished, or is of another recipe, or ``folder`` cannot be written.
    """
    finished = [_read_run(run) for run in runs]
    shipped = finished[0]
    for other in finished[1:]:
        if other.recipe.model_copy(update={"seed": shipped.recipe.seed}) != shipped.recipe:
            raise StoreError(
                f"{other.folder} and {shipped.folder} are runs of different recipes; the seeds of "
                "one card must share everything but the seed."
            )
    metrics = _metrics(finished, test_prompts)
    shutil.rmtree(folder / Path(snapshot_file(0)).parent, ignore_errors=True)
    for step in snapshot_steps(shipped.recipe):
        weights = load_file(shipped.folder / snapshot_file(step))
        checkpoints.save_weights(folder / snapshot_file(step), weights)
    write_model(folder, shipped.recipe, shipped.model)
    checkpoints.write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    checkpoints.write_text(folder / "card.md", render_card(metrics))


def _read_run(folder: Path) -> _FinishedRun:
    recipe_file = folder / checkpoints.RECIPE
    if not (recipe_file.is_file() and (folder / WEIGHTS).is_file()):
        raise StoreError(f"{folder} is not a finished training run: train or resume it first.")
    recipe = recipe_from(json.loads(recipe_file.read_text(encoding="utf-8")), str(recipe_file))
    model = initial_model(recipe, recipe.load_tokenizer())
    model.load_state_dict(load_file(folder / WEIGHTS))
    return _FinishedRun(folder, recipe, model, checkpoints.read_metrics(folder))


def _metrics(runs: list[_FinishedRun], prompts: int) -> dict[str, Any]:
    """The numbers of ``metrics.json`` and of the card; the first run is the one that ships."""
    shipped = runs[0]
    return {
        "name": shipped.recipe.name,
        "recipe": shipped.recipe.model_dump(mode="json"),
        "parameters": sum(p.numel() for p in shipped.model.parameters()),
        "test": {"prompts": prompts, "seed": TEST_SEED},
        "hashed_batches": HASHED_BATCHES,
        "seeds": [_seed_metrics(run, prompts) for run in runs],
        "snapshots": _snapshot_metrics(shipped, prompts),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }


def _seed_metrics(run: _FinishedRun, prompts: int) -> dict[str, Any]:
    tokenizer = run.recipe.load_tokenizer()
    scores = score_letters(run.model, tokenizer, prompts, TEST_SEED)
    return {
        "seed": run.recipe.seed,
        "loss": run.metrics[-1]["loss"],
        "accuracy": scores.accuracy,
        "logit_diff": scores.logit_diff,
        "seconds": run.metrics[-1]["seconds"],
        "data_hash": corpus_of(run.recipe, tokenizer).data_hash(HASHED_BATCHES),
    }


def _snapshot_metrics(run: _FinishedRun, prompts: int) -> list[dict[str, Any]]:
    """Scores of the half-precision snapshots, computed in fp32 from the files that ship."""
    tokenizer = run.recipe.load_tokenizer()
    model = initial_model(run.recipe, tokenizer)
    rows = []
    for step in snapshot_steps(run.recipe):
        model.load_state_dict(load_file(run.folder / snapshot_file(step)))
        scores = score_letters(model, tokenizer, prompts, TEST_SEED)
        row = {"step": step, "accuracy": scores.accuracy, "logit_diff": scores.logit_diff}
        rows.append(row)
    return rows


if __name__ == "__main__":
    *run_folders, destination = map(Path, sys.argv[1:])
    export_model(run_folders, destination)
