"""Recipes: what they accept, and what they say when they do not."""

import copy

import pytest
import yaml

from mechbench.errors import SpecError
from mechbench.resources import bundled
from mechbench.training.recipe import load_recipe, recipe_from
from tests.training.conftest import TINY


def changed(path: str, value) -> dict:
    content = copy.deepcopy(TINY)
    *sections, key = path.split(".")
    target = content
    for section in sections:
        target = target[section]
    target[key] = value
    return content


@pytest.mark.parametrize("name", [p.stem for p in (bundled("data") / "recipes").glob("*.yaml")])
def test_bundled_recipes_load_by_name(name):
    assert load_recipe(name).name == name


def test_file_and_mapping_give_the_same_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(TINY))
    assert load_recipe(path) == load_recipe(str(path)) == recipe_from(TINY)


def test_dump_reads_back():
    recipe = recipe_from(TINY)
    assert recipe_from(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("step", 10, "step is not a key. Did you mean 'steps'"),
        ("optimiser.learning_rat", 1, "optimiser.learning_rat is not a key. Did you mean 'learn"),
        ("model.n_layer", 2, "model.n_layer is not a key. Did you mean 'n_layers'"),
        ("model.d_vocab", 99, "model.d_vocab is not a key"),
        ("model.n_ctx", 20, "sequence_length is 24, but model.n_ctx is 20"),
        ("tokenizer", "acronym", "none is called 'acronym'. Did you mean 'acronyms'"),
        ("steps", 0, "steps: Input should be greater than or equal to 1 (given: 0)"),
        ("snapshots", [0, 99], "[99] are not steps of a run of 6 steps"),
    ],
)
def test_a_wrong_value_is_explained(key, value, message):
    with pytest.raises(SpecError) as error:
        recipe_from(changed(key, value))
    assert message in str(error.value)


def test_missing_model_keys_are_listed():
    content = copy.deepcopy(TINY)
    del content["model"]["d_mlp"], content["model"]["n_heads"]
    with pytest.raises(SpecError, match=r"model.d_mlp is missing.; model.n_heads is missing"):
        recipe_from(content)
    del content["model"]["variant"]
    with pytest.raises(SpecError, match="variant is missing"):
        recipe_from(content)


def test_every_problem_is_listed_at_once():
    content = changed("seeds", 1)
    content["corpus"]["sequence"] = 3
    with pytest.raises(SpecError) as error:
        recipe_from(content)
    assert "'seed'" in str(error.value) and "'sequences'" in str(error.value)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(SpecError, match="acronyms-gpt2"):
        load_recipe("acronym-gpt2")


@pytest.mark.parametrize("text", ["a: [1", "- just\n- a list"])
def test_files_that_are_no_recipe(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"bad\.yaml"):
        load_recipe(path)
