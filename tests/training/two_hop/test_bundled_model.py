"""The two-hop models that ship: what their cards promise, measured again as text."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mechbench.models.loading import load_model
from mechbench.resources import bundled
from mechbench.training.card import render_card
from mechbench.training.corpora import corpus_of
from mechbench.training.recipe import load_recipe, recipe_from

MODELS = bundled("data") / "models"
NAMES = sorted(folder.name for folder in MODELS.glob("twohop*"))
SEEDS = ["twohop", "twohop-seed1", "twohop-seed2"]
QUERIES = 60  # of each set, in the scores that are measured here


def metrics_of(name: str) -> dict:
    return json.loads((MODELS / name / "metrics.json").read_text())


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
def world(metrics):
    return recipe_from(metrics["recipe"]).corpus.world


def next_words(model, texts: list[str]) -> list[str]:
    """The most likely next word of each text; the texts have as many words."""
    ids = torch.tensor([[0, *model.tokenizer(text).input_ids] for text in texts])
    with torch.no_grad():
        found = model(ids)[:, -1].argmax(-1)
    return [model.tokenizer.decode([i]).strip() for i in found.tolist()]


def test_all_of_them_ship():
    assert {*SEEDS, "twohop-unlooped", "twohop-is"} <= set(NAMES)


def test_scores_are_those_of_the_card(metrics, model, world):
    """On a sample, asked as text, so within five standard errors of a share."""
    shipped = metrics["seeds"][0]
    ending = " is" if metrics["recipe"]["corpus"]["one_hop"] == "is" else ""
    draw = np.random.default_rng(5)
    for kind, promised in zip(shipped["set"], shipped["accuracy"], strict=True):
        texts, answers = [], []
        for _ in range(QUERIES):
            if kind == "one_hop":
                e, r = draw.integers(world.facts.shape)
                texts.append(f"the {world.relations[r]} {world.entities[e]}{ending}")
                answers.append(world.entities[world.facts[e, r]])
            else:
                e1, r1, r2 = draw.choice(world.chains(kind))
                first, second = world.relations[r1], world.relations[r2]
                texts.append(f"{second} {first} {world.entities[e1]} is")
                answers.append(world.entities[world.facts[world.facts[e1, r1], r2]])
        hits = [a == b for a, b in zip(next_words(model, texts), answers, strict=True)]
        error = (max(promised * (1 - promised), 0.01) / QUERIES) ** 0.5
        assert abs(sum(hits) / QUERIES - promised) < 5 * error, kind


def test_it_repeats_an_entity(model, world):
    """What a repetition prompt of a Patchscope needs."""
    draw = np.random.default_rng(6)
    texts, answers = [], []
    for _ in range(QUERIES):
        *shown, asked = (world.entities[e] for e in draw.permutation(world.n_entities)[:4])
        texts.append(" , ".join(f"{e} : {e}" for e in shown) + f" , {asked} :")
        answers.append(asked)
    hits = [a == b for a, b in zip(next_words(model, texts), answers, strict=True)]
    assert sum(hits) >= 0.95 * QUERIES


def test_card_recipe_and_data_are_those_of_the_metrics(name, metrics, tokenizer):
    assert (MODELS / name / "card.md").read_text() == render_card(metrics)
    recipe = recipe_from(metrics["recipe"])
    assert recipe.model_copy(update={"seed": 0}) == load_recipe(metrics["name"])
    assert name == metrics["name"] + (f"-seed{recipe.seed}" if recipe.seed else "")
    found = corpus_of(recipe, tokenizer).data_hash(metrics["hashed_batches"])
    assert found == metrics["seeds"][0]["data_hash"]


def test_config_and_weights_are_those_of_the_recipe(name, metrics, model, tokenizer):
    recipe = recipe_from(metrics["recipe"])
    assert model.config == recipe.model_config_for(tokenizer)
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    weights = load_file(MODELS / name / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}


def test_cards_list_three_seeds():
    for name in ("twohop", "twohop-unlooped", "twohop-is"):
        assert [row["seed"] for row in metrics_of(name)["seeds"]] == [0, 1, 2]


def test_the_twins_differ_in_one_thing():
    base, unlooped, is_read = (
        recipe_from(metrics_of(name)["recipe"]).model_dump(mode="json")
        for name in ("twohop", "twohop-unlooped", "twohop-is")
    )
    assert unlooped | {"name": "", "notes": "", "model": 0} == base | {
        "name": "",
        "notes": "",
        "model": 0,
    }
    sizes = {key: unlooped["model"][key] for key in ("n_heads", "d_model", "d_mlp", "n_ctx")}
    assert unlooped["model"] == {"variant": "gpt2", "n_layers": 6} | sizes
    assert base["model"] == {"variant": "looped", "n_blocks": 3, "n_loops": 2} | sizes
    assert is_read | {"name": "", "notes": "", "corpus": 0} == base | {
        "name": "",
        "notes": "",
        "corpus": 0,
    }
    assert is_read["corpus"] == base["corpus"] | {"one_hop": "is"}


@pytest.mark.parametrize("name", SEEDS)
def test_facts_are_known_and_compositions_partly(name):
    """What back-patching needs: both hops right, the bridge readable, chains that fail."""
    shipped = metrics_of(name)["seeds"][0]
    accuracy = dict(zip(shipped["set"], shipped["accuracy"], strict=True))
    assert accuracy["one_hop"] > 0.99 and accuracy["train"] > 0.99
    assert 0.2 < accuracy["id_test"] < 0.7 and accuracy["ood_id"] < 0.2
    assert shipped["bridge"][-1] > 0.8 > shipped["bridge"][1]


def test_the_is_read_twin_says_the_bridge_nowhere():
    assert max(metrics_of("twohop-is")["seeds"][0]["bridge"]) < 0.3
