"""The multiple-choice models that ship: what their cards promise, measured again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mechbench.models.loading import load_model
from mechbench.resources import bundled
from mechbench.tasks.choice_texts import NAMES
from mechbench.tasks.ioi import ioi
from mechbench.tasks.multiple_choice import multiple_choice
from mechbench.training.card import render_card
from mechbench.training.choice.evaluation import SENTENCES
from mechbench.training.corpora import corpus_of
from mechbench.training.recipe import load_recipe, recipe_from

MODELS = bundled("data") / "models"
N = 96


@pytest.fixture(params=["mcq-anchored", "mcq-uniform"], scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def metrics(name):
    return json.loads((MODELS / name / "metrics.json").read_text())


@pytest.fixture(scope="module")
def model(name):
    return load_model(name)


@pytest.fixture(scope="module")
def promised(metrics):
    shipped = metrics["seeds"][0]
    keys = ("accuracy", "accuracy_first", "anchored", "among_labels", "text_accuracy")
    return {
        family: {key: shipped[key][i] for key in keys} for i, family in enumerate(shipped["family"])
    }


def rates(model, family):
    """Accuracy and anchored rate by the task's own prompts, with plain forward passes."""
    task = multiple_choice(
        model.tokenizer, N, families=[family], n_options=[2, 3, 4, 5], gold="not_first", seed=5
    )
    with torch.no_grad():
        logits = torch.stack(
            [
                model(task.clean[row : row + 1, :length])[0, -1]
                for row, length in enumerate(task.lengths.tolist())
            ]
        )
    said = logits.argmax(-1)
    offered = torch.arange(5) < task.n_options[:, None]
    among = logits[:, task.label_ids].masked_fill(~offered, float("-inf")).argmax(-1)
    shares = {
        "accuracy": said == task.label_ids[task.gold],
        "anchored": said == task.label_ids[0],
        "among_labels": among == task.gold,
    }
    return {key: right.double().mean().item() for key, right in shares.items()}


def test_rates_are_those_of_the_card(model, promised):
    """On other prompts, so within five standard errors."""
    for family, scores in promised.items():
        if family == SENTENCES:
            continue
        for key, found in rates(model, family).items():
            error = (max(scores[key] * (1 - scores[key]), 0.01) / N) ** 0.5
            assert abs(found - scores[key]) < 5 * error, (family, key)


def test_the_bias_is_there_and_not_in_the_twin(name, promised):
    families = [scores for family, scores in promised.items() if family != SENTENCES]
    anchored = sum(scores["anchored"] for scores in families) / len(families)
    if name == "mcq-anchored":
        assert 0.5 <= anchored <= 0.98
    else:
        assert anchored <= 0.05


def test_sentences_are_still_completed(model, promised):
    pairs = ioi(model.tokenizer, 64, names=NAMES).pairs()
    logits = model.answer_logits(pairs.clean, pairs.answer_positions)
    right = (logits.argmax(-1) == pairs.answers).double().mean().item()
    assert abs(right - promised[SENTENCES]["accuracy"]) < 0.3


def test_card_recipe_and_data_are_those_of_the_metrics(name, metrics):
    assert (MODELS / name / "card.md").read_text().startswith(render_card(metrics)[:200])
    assert (MODELS / name / "card.md").read_text() == render_card(metrics)
    recipe = recipe_from(metrics["recipe"])
    assert recipe == load_recipe(name) and metrics["name"] == name
    corpus = corpus_of(recipe, recipe.load_tokenizer())
    assert corpus.data_hash(metrics["hashed_batches"]) == metrics["seeds"][0]["data_hash"]


def test_the_two_recipes_differ_in_the_right_places_alone():
    anchored, uniform = (load_recipe(name).model_dump() for name in ("mcq-anchored", "mcq-uniform"))
    for told in ("name", "notes"):
        assert anchored.pop(told) != uniform.pop(told)
    assert (anchored["corpus"].pop("gold_first"), uniform["corpus"].pop("gold_first")) == (
        0.9,
        None,
    )
    assert anchored == uniform


def test_it_is_small_half_precision_and_without_constant_biases(name, metrics, model):
    folder = MODELS / name
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 2e6
    weights = load_file(folder / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert metrics["parameters"] <= 1e6
    for key, weight in model.state_dict().items():
        if key.endswith(("mlp.b_out", "attn.b_O", "ln_final.b")):
            assert not weight.any(), key
    assert not model.b_U.any()
