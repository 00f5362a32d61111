"""The models of the common corpus that ship: what their cards promise, measured again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mechbench.models.loading import load_model
from mechbench.models.registry import variant
from mechbench.resources import bundled
from mechbench.tasks.acronyms import acronyms
from mechbench.tasks.induction import induction
from mechbench.tasks.ioi import ioi
from mechbench.training.card import render_card
from mechbench.training.corpora import corpus_of
from mechbench.training.mixed.corpus import TASKS
from mechbench.training.mixed.evaluation import score_tasks
from mechbench.training.recipe import load_recipe, recipe_from

MODELS = bundled("data") / "models"
NAMES = sorted(folder.name for folder in MODELS.glob("mixed-*"))
PROMPTS = 16  # of each task, in the scores that are measured here


def metrics_of(name: str) -> dict:
    return json.loads((MODELS / name / "metrics.json").read_text())


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.fixture(params=NAMES, scope="module")
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def metrics(name) -> dict:
    return metrics_of(name)


@pytest.fixture(scope="module")
def model(name):
    return load_model(name)


@pytest.fixture(scope="module")
def accuracy(metrics) -> dict[str, float]:
    shipped = metrics["seeds"][0]
    return dict(zip(shipped["task"], shipped["accuracy"], strict=True))


@pytest.fixture(scope="module")
def prompts(tokenizer):
    """A corpus that draws the prompts of a recipe, each recipe's once."""
    drawn = {}

    def drawn_for(recipe):
        key = recipe.seed, recipe.corpus.model_dump_json()
        if key not in drawn:
            drawn[key] = corpus_of(recipe, tokenizer)
        return drawn[key]

    return drawn_for


def test_the_dense_controls_ship():
    assert {"mixed-gpt2", "mixed-llama"} <= set(NAMES)


def test_scores_are_those_of_the_card(metrics, model, accuracy, prompts):
    """On other prompts, so within five standard errors of a share."""
    corpus = prompts(recipe_from(metrics["recipe"]))
    for found in score_tasks(model, corpus, n=PROMPTS, seed=9):
        promised = accuracy[found.task]
        # the answers of a prompt hang together, so prompts are counted
        error = (max(promised * (1 - promised), 0.01) / PROMPTS) ** 0.5
        assert abs(found.accuracy - promised) < 5 * error, found


def test_card_recipe_and_data_are_those_of_the_metrics(name, metrics, prompts):
    assert (MODELS / name / "card.md").read_text() == render_card(metrics)
    recipe = recipe_from(metrics["recipe"])
    assert recipe == load_recipe(name)
    assert metrics["name"] == name and tuple(metrics["seeds"][0]["task"]) == TASKS
    assert prompts(recipe).data_hash(metrics["hashed_batches"]) == metrics["seeds"][0]["data_hash"]


def test_config_and_weights_are_those_of_the_recipe(metrics, model, tokenizer):
    recipe = recipe_from(metrics["recipe"])
    assert model.config == recipe.model_config_for(tokenizer)
    trained = (weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert metrics["parameters"] == sum(trained)


def test_it_is_small_and_half_precision(name, metrics):
    assert size_of(MODELS / name) <= 2e6
    weights = load_file(MODELS / name / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert metrics["parameters"] <= 1e6


def test_all_bundled_models_together_are_small():
    assert size_of(MODELS) < 50e6


def test_the_same_text_in_the_same_amount(metrics):
    """Otherwise scores beside those of the control would compare recipes, not architectures."""
    recipe, of_control = metrics["recipe"], metrics_of("mixed-gpt2")["recipe"]
    for key in ("seed", "steps", "tokenizer"):
        assert recipe[key] == of_control[key], key
    for key in ("sequences", "sequence_length", "shares"):
        assert recipe["corpus"][key] == of_control["corpus"][key], key


def test_the_control_is_dense_ships_and_has_the_scores_that_stand_beside(name, metrics):
    spec = variant(metrics["recipe"]["model"]["variant"])
    control = metrics["control"]
    if control is None:
        assert spec.control == spec.name, f"{name} is no control and has none"
        return
    assert control["name"] in NAMES
    its_metrics = metrics_of(control["name"])
    assert its_metrics["recipe"]["model"]["variant"] == spec.control
    shipped = its_metrics["seeds"][0]
    for key in ("task", "accuracy", "task_loss"):
        assert control[key] == shipped[key], key
    assert f"accuracy, {control['name']}" in (MODELS / name / "card.md").read_text()


def share_right(model, pairs) -> float:
    """Share of answers that are the most likely token of the whole vocabulary."""
    logits = model.answer_logits(pairs.clean, pairs.answer_positions)
    return (logits.argmax(-1) == pairs.answers).double().mean().item()


@torch.no_grad()
def test_the_tasks_of_mechbench_run_on_it(model, accuracy):
    for task, name in (
        (acronyms(model.tokenizer, n=32), "acronyms"),
        (induction(model.tokenizer, n=32, half_length=8), "induction"),
        (ioi(model.tokenizer, n=32), "names"),
    ):
        assert share_right(model, task.pairs()) > accuracy[name] - 0.25
