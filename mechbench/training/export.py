"""From finished training runs to the folder that ships a model.

    data/models/<name>/
      config.json        variant, its config, tokenizer, list of snapshots
      model.safetensors  weights of the shipped seed
      snapshots/         the same run's weights on the way, half precision
      metrics.json       every number of the card
      card.md            what the model is, for a reader

``python -m mechbench.training.export RUN [RUN ...] FOLDER`` ships the first run; the others are
further seeds of the same recipe and appear in the card. ``--help`` shows what a card can say more.
"""

import argparse
import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from mechbench.errors import StoreError
from mechbench.models.base import HookedModel
from mechbench.models.cost import cache_bytes, flops_per_token
from mechbench.models.registry import variant
from mechbench.training import checkpoints
from mechbench.training.card import render_card
from mechbench.training.corpora import corpus_of, score
from mechbench.training.kinds import kind_called
from mechbench.training.loop import initial_model
from mechbench.training.measured import read_measured
from mechbench.training.model_folder import (
    WEIGHTS,
    n_parameters,
    snapshot_file,
    snapshot_steps,
    write_model,
)
from mechbench.training.recipe import Recipe, recipe_from

TEST_SEED = 1  # the scores during training use seed 0
TEST_PROMPTS = 4096
HASHED_BATCHES = 10
TIMES = ("seconds", "processor_seconds")  # the first of runs from before the second was kept


@dataclass(frozen=True)
class _FinishedRun:
    folder: Path
    recipe: Recipe
    model: HookedModel
    metrics: list[dict[str, Any]]


def export_model(
    runs: list[Path],
    folder: Path,
    *,
    test_prompts: int = TEST_PROMPTS,
    dtype: torch.dtype = torch.float32,
    control: Path | None = None,
    measured: Path | None = None,
) -> None:
    """Write the model folder of ``runs[0]``; the other runs are further seeds of its recipe.

    The card's scores are measured here, on ``test_prompts`` prompts that training never saw (of
    each task), with the weights as they are stored.

    Args:
        dtype: of the stored weights.
        control: the model folder that the card's scores stand beside, where its kind of corpus
            has such a place.
        measured: a JSON list of what analyses found in the model; see ``measured.py``.

    Raises:
        StoreError: a run is not finished, or is of another recipe, or ``folder`` cannot be written,
            or the control was scored on other prompts, or is given for a kind of corpus whose
            cards show none, or ``measured`` is no such list.
    """
    analysed = [] if measured is None else read_measured(measured)
    finished = [_read_run(run, dtype) for run in runs]
    shipped = finished[0]
    for other in finished[1:]:
        if other.recipe.model_copy(update={"seed": shipped.recipe.seed}) != shipped.recipe:
            raise StoreError(
                f"{other.folder} and {shipped.folder} are runs of different recipes; the seeds of "
                "one card must share everything but the seed."
            )
    metrics = _metrics(finished, test_prompts)
    metrics |= {
        "dtype": str(dtype).removeprefix("torch."),
        "baselines": _baselines(shipped, test_prompts),
        "cost": _cost(shipped),
        "settings": _setting_metrics(shipped, test_prompts),
        "control": None if control is None else _control(control, metrics),
        "measured": analysed,
    }
    shutil.rmtree(folder / Path(snapshot_file(0)).parent, ignore_errors=True)
    for step in snapshot_steps(shipped.recipe):
        weights = load_file(shipped.folder / snapshot_file(step))
        checkpoints.save_weights(folder / snapshot_file(step), weights)
    write_model(folder, shipped.recipe, shipped.model, dtype)
    checkpoints.write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    checkpoints.write_text(folder / "card.md", render_card(metrics))


def _read_run(folder: Path, dtype: torch.dtype) -> _FinishedRun:
    recipe_file = folder / checkpoints.RECIPE
    if not (recipe_file.is_file() and (folder / WEIGHTS).is_file()):
        raise StoreError(f"{folder} is not a finished training run: train or resume it first.")
    recipe = recipe_from(json.loads(recipe_file.read_text(encoding="utf-8")), str(recipe_file))
    model = initial_model(recipe, recipe.load_tokenizer())
    weights = load_file(folder / WEIGHTS)
    model.load_state_dict({name: w.to(dtype) for name, w in weights.items()})
    return _FinishedRun(folder, recipe, model, checkpoints.read_metrics(folder))


def _metrics(runs: list[_FinishedRun], prompts: int) -> dict[str, Any]:
    """The numbers of ``metrics.json`` and of the card; the first run is the one that ships."""
    shipped = runs[0]
    return {
        "name": shipped.recipe.name,
        "recipe": shipped.recipe.model_dump(mode="json"),
        "parameters": n_parameters(shipped.model),
        "test": {"prompts": prompts, "seed": TEST_SEED},
        "hashed_batches": HASHED_BATCHES,
        "seeds": [_seed_metrics(run, prompts) for run in runs],
        "snapshots": _snapshot_metrics(shipped, prompts),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }


def _seed_metrics(run: _FinishedRun, prompts: int) -> dict[str, Any]:
    tokenizer = run.recipe.load_tokenizer()
    return {
        "seed": run.recipe.seed,
        "loss": run.metrics[-1]["loss"],
        **_scores(run.recipe, run.model, tokenizer, prompts),
        **{key: run.metrics[-1][key] for key in TIMES if key in run.metrics[-1]},
        "data_hash": corpus_of(run.recipe, tokenizer).data_hash(HASHED_BATCHES),
    }


def _snapshot_metrics(run: _FinishedRun, prompts: int) -> list[dict[str, Any]]:
    """Scores of the half-precision snapshots, computed in fp32 from the files that ship."""
    tokenizer = run.recipe.load_tokenizer()
    model = initial_model(run.recipe, tokenizer)
    rows = []
    for step in snapshot_steps(run.recipe):
        model.load_state_dict(load_file(run.folder / snapshot_file(step)))
        rows.append({"step": step, **_scores(run.recipe, model, tokenizer, prompts)})
    return rows


def _setting_metrics(run: _FinishedRun, prompts: int) -> list[dict[str, Any]]:
    """Scores of the shipped model in the other ways in which its architecture can run."""
    tokenizer = run.recipe.load_tokenizer()
    rows = []
    for name, context in variant(run.recipe.model["variant"]).settings(run.model):
        with context:
            rows.append({"setting": name, **_scores(run.recipe, run.model, tokenizer, prompts)})
    return rows


def _scores(
    recipe: Recipe, model: HookedModel, tokenizer: Tokenizer, prompts: int
) -> dict[str, Any]:
    scores = score(recipe, model, tokenizer, prompts, TEST_SEED)
    del scores["n"]  # stands once for all in ``test``
    return scores


def _baselines(run: _FinishedRun, prompts: int) -> list[dict[str, Any]]:
    tokenizer = run.recipe.load_tokenizer()
    baselines = kind_called(run.recipe.corpus.kind).baselines
    if baselines is None:
        return []
    corpus = corpus_of(run.recipe, tokenizer)
    return baselines(corpus, prompts, TEST_SEED, tokenizer.get_vocab_size())


def _cost(run: _FinishedRun) -> dict[str, float]:
    """Work and memory per token of sequences as long as the longest of the training text."""
    n_tokens = run.recipe.corpus.longest
    return {
        "n_tokens": n_tokens,
        "flops_per_token": flops_per_token(run.model, n_tokens),
        "cache_bytes_per_token": cache_bytes(run.model, n_tokens) / n_tokens,
    }


def _control(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """The scores of the control, which must be of the same prompts."""
    compared = kind_called(metrics["recipe"]["corpus"]["kind"]).compared
    if not compared:
        raise StoreError(f"The card of {metrics['name']!r} shows no control: leave {folder} out.")
    path = folder / "metrics.json"
    if not path.is_file():
        raise StoreError(f"{folder} is no control: it has no metrics.json. Export it first.")
    other = json.loads(path.read_text(encoding="utf-8"))

    def prompts(of: dict[str, Any]) -> Any:
        recipe = recipe_from(of["recipe"], of["name"])
        return of["test"], *recipe.corpus.prompts_depend_on, recipe.tokenizer

    if prompts(other) != prompts(metrics):
        raise StoreError(
            f"The control {folder} was scored on other prompts: {prompts(other)}, here "
            f"{prompts(metrics)}. Export both with the same test prompts, from recipes with one "
            "tokenizer and sequence length."
        )
    return {"name": other["name"]} | {key: other["seeds"][0][key] for key in compared}


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m mechbench.training.export")
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs, the shipped one first")
    parser.add_argument("folder", type=Path, help="the model folder to write")
    parser.add_argument("--half", action="store_true", help="store the weights in fp16")
    parser.add_argument("--test-prompts", type=int, default=TEST_PROMPTS)
    parser.add_argument("--control", type=Path, help="model folder to compare with in the card")
    parser.add_argument("--measured", type=Path, help="JSON file of numbers for the card")
    given = parser.parse_args()
    export_model(
        given.runs,
        given.folder,
        test_prompts=given.test_prompts,
        dtype=torch.float16 if given.half else torch.float32,
        control=given.control,
        measured=given.measured,
    )


if __name__ == "__main__":
    main()
