"""The model that ships: what its card promises, measured again."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from mechbench.models.registry import variant
from mechbench.resources import bundled
from mechbench.tasks.words import held_out_words
from mechbench.training.card import render_card
from mechbench.training.evaluation import frame_prompts, score_letters
from mechbench.training.loop import corpus_of
from mechbench.training.recipe import load_recipe, recipe_from

FOLDER = bundled("data") / "models" / "acronyms-gpt2"
TOKENIZER = Tokenizer.from_file(str(bundled("data") / "tokenizers" / "acronyms" / "tokenizer.json"))


@pytest.fixture(scope="module")
def metrics() -> dict:
    return json.loads((FOLDER / "metrics.json").read_text())


@pytest.fixture(scope="module")
def config() -> dict:
    return json.loads((FOLDER / "config.json").read_text())


def build(config: dict, file: str = "model.safetensors"):
    spec = variant(config["variant"])
    model = spec.build(spec.config(**config["config"]), "acronyms-gpt2")
    model.load_state_dict(load_file(FOLDER / file))
    return model


def test_held_out_words_are_completed(config):
    scores = score_letters(build(config), TOKENIZER, n=512, seed=3)
    assert min(scores.accuracy) >= 0.99
    assert min(scores.logit_diff) > 4


def test_greedy_text_closes_the_acronym(config):
    """Read as text, without the scoring code: three letters, then the bracket."""
    model = build(config)
    for text, ending in [
        ("The Ketchup Lark Wreck (KL", "W)"),
        ("The Quail Nectar Zebra (QN", "Z)"),
        ("The Xylem Jug Yacht (XJ", "Y)"),
    ]:
        ids = [0, *TOKENIZER.encode(text).ids]
        for _ in range(2):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        assert TOKENIZER.decode(ids[-2:]) == ending


def test_three_seeds_reach_the_target(metrics):
    assert [row["seed"] for row in metrics["seeds"]] == [0, 1, 2]
    assert all(min(row["accuracy"]) >= 0.99 for row in metrics["seeds"])


def test_snapshots_show_the_skill_forming(config, metrics):
    steps = [snapshot["step"] for snapshot in config["snapshots"]]
    assert steps == [row["step"] for row in metrics["snapshots"]]
    assert len(steps) >= 10 and steps == sorted(steps)
    first, last = (build(config, config["snapshots"][i]["file"]) for i in (0, -1))
    assert max(score_letters(first, TOKENIZER, n=128).accuracy) < 0.2
    assert min(score_letters(last, TOKENIZER, n=128).accuracy) >= 0.98


def test_the_last_snapshot_is_the_model_in_half_precision(config):
    half = load_file(FOLDER / config["snapshots"][-1]["file"])
    for name, weight in load_file(FOLDER / "model.safetensors").items():
        assert torch.equal(weight.half(), half[name])


def test_sizes(config):
    assert (FOLDER / "model.safetensors").stat().st_size <= 8e6
    files = [FOLDER / snapshot["file"] for snapshot in config["snapshots"]]
    assert sorted(files) == sorted((FOLDER / "snapshots").iterdir())
    assert sum(file.stat().st_size for file in files) <= 12e6


def test_card_and_recipe_are_those_of_the_metrics(metrics):
    assert (FOLDER / "card.md").read_text() == render_card(metrics)
    assert recipe_from(metrics["recipe"]) == load_recipe("acronyms-gpt2")


def test_data_hashes_are_those_of_the_recipe(metrics):
    for row in metrics["seeds"]:
        recipe = recipe_from(metrics["recipe"] | {"seed": row["seed"]})
        corpus = corpus_of(recipe, TOKENIZER)
        assert corpus.data_hash(metrics["hashed_batches"]) == row["data_hash"]


def test_test_prompts_are_held_out_words_in_the_frame():
    tokens, answers = frame_prompts(TOKENIZER, 64)
    held_out = set(held_out_words())
    for ids, answer in zip(tokens.tolist(), answers.tolist(), strict=True):
        assert ids[0] == 0
        the, *words, bracket = TOKENIZER.decode(ids[1:]).split()
        letters = TOKENIZER.decode(answer)
        assert the == "The" and len(words) == 3 and held_out >= set(words)
        assert "".join(word[0] for word in words) == letters
        assert bracket == f"({letters[:2]}"
