"""The dense control that ships: what its card promises, measured again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mechbench.models.loading import load_model
from mechbench.resources import bundled
from mechbench.tasks.acronyms import acronyms
from mechbench.tasks.induction import induction
from mechbench.tasks.ioi import ioi
from mechbench.training.card import render_card
from mechbench.training.corpora import mixed_corpus
from mechbench.training.mixed.evaluation import score_tasks
from mechbench.training.recipe import load_recipe, recipe_from

FOLDER = bundled("data") / "models" / "mixed-gpt2"


@pytest.fixture(scope="module")
def metrics() -> dict:
    return json.loads((FOLDER / "metrics.json").read_text())


@pytest.fixture(scope="module")
def model():
    return load_model("mixed-gpt2")


def test_scores_are_those_of_the_card(metrics, model, tokenizer):
    """On other prompts, so within five standard errors of a share."""
    corpus = mixed_corpus(recipe_from(metrics["recipe"]), tokenizer)
    shipped = metrics["seeds"][0]
    for i, found in enumerate(score_tasks(model, corpus, n=48, seed=9)):
        promised = shipped["accuracy"][i]
        error = (max(promised * (1 - promised), 0.01) / 48) ** 0.5  # answers of a row hang together
        assert abs(found.accuracy - promised) < 5 * error, found


def test_card_recipe_and_data_are_those_of_the_metrics(metrics, tokenizer):
    assert (FOLDER / "card.md").read_text() == render_card(metrics)
    recipe = recipe_from(metrics["recipe"])
    assert recipe == load_recipe("mixed-gpt2")
    corpus = mixed_corpus(recipe, tokenizer)
    assert corpus.data_hash(metrics["hashed_batches"]) == metrics["seeds"][0]["data_hash"]


def test_it_is_small_and_half_precision(metrics):
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 2e6
    assert {w.dtype for w in load_file(FOLDER / "model.safetensors").values()} == {torch.float16}
    assert metrics["parameters"] <= 1e6


def share_right(model, pairs) -> float:
    """Share of answers that are the most likely token of the whole vocabulary."""
    logits = model.answer_logits(pairs.clean, pairs.answer_positions)
    return (logits.argmax(-1) == pairs.answers).double().mean().item()


@torch.no_grad()
def test_the_tasks_of_mechbench_run_on_it(model, metrics):
    accuracy = dict(zip(metrics["seeds"][0]["task"], metrics["seeds"][0]["accuracy"], strict=True))
    for task, name in (
        (acronyms(model.tokenizer, n=64), "acronyms"),
        (induction(model.tokenizer, n=64, half_length=8), "induction"),
        (ioi(model.tokenizer, n=64), "names"),
    ):
        assert share_right(model, task.pairs()) > accuracy[name] - 0.25
