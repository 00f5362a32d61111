"""Training, freezing, export and card of a multiple-choice model."""

import copy
import json

import pytest
import torch

from mechbench.errors import SpecError
from mechbench.training.card import render_card
from mechbench.training.corpora import score
from mechbench.training.export import TEST_SEED, export_model
from mechbench.training.loop import train
from mechbench.training.recipe import recipe_from
from tests.training.choice.conftest import TINY
from tests.training.test_loop import interrupt_at, same_weights, without_seconds


@pytest.fixture
def run(tiny, tmp_path):
    return train(tiny, tmp_path / "run")


def test_frozen_weights_stay_and_the_others_move(run):
    for name, weight in run.model.state_dict().items():
        if name.endswith("mlp.b_out"):
            assert not weight.any()
        elif name.endswith((".b_O", ".b_V", ".b_in", "W_out")):
            assert weight.any(), name


def test_interrupted_and_resumed_is_bit_identical(tiny, run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "parts", on_step=interrupt_at(3))
    resumed = train(tiny, tmp_path / "parts", resume=True)
    assert same_weights(run.model.state_dict(), resumed.model.state_dict())
    assert without_seconds(run.metrics) == without_seconds(resumed.metrics)


def test_the_card_states_the_numbers_of_the_metrics(run, tiny, tokenizer, tmp_path):
    export_model([run.folder], tmp_path / "twin", test_prompts=8, dtype=torch.float16)
    export_model([run.folder], tmp_path / "m", test_prompts=8, control=tmp_path / "twin")
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    card = (tmp_path / "m" / "card.md").read_text()
    assert card == render_card(metrics)
    found = score(tiny, run.model, tokenizer, 8, TEST_SEED)
    shipped = metrics["seeds"][0]
    assert {key: shipped[key] for key in found if key != "n"} == {
        key: value for key, value in found.items() if key != "n"
    }
    rows = {line.split(" | ")[0][2:]: line for line in card.splitlines() if line[:2] == "| "}
    for i, family in enumerate(shipped["family"]):
        assert f"{shipped['text_loss'][i]:.3f}" in rows[family]
        assert f"{shipped['accuracy'][i]:.1%}" in rows[family]
        assert f"{metrics['control']['text_loss'][i]:.3f}" in rows[family]
    assert "`mlp.b_out`" in card and "90%" in card


def changed(section, key, value):
    content = copy.deepcopy(TINY)
    (content[section] if section else content)[key] = value
    return content


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "families",
            {"greater": 1.0},
            "families.greater is no family. Did you mean 'greater_than'",
        ),
        ("families", {"ioi": 0.0}, "at least one a weight above 0"),
        ("text_share", 0.99, "must not exceed 1 together"),
        ("uniform_labels", [], "at least one first label"),
        ("gold_first", 1.1, "less than or equal to 1"),
        ("gold_frist", 0.5, "Did you mean 'gold_first'"),
    ],
)
def test_a_wrong_mixture_is_explained(key, value, message):
    with pytest.raises(SpecError) as error:
        recipe_from(changed("corpus", key, value))
    assert message in str(error.value)


def test_a_context_that_is_too_short_is_refused():
    with pytest.raises(SpecError, match="the longest row of the corpus 'choice' is 64"):
        recipe_from(changed("model", "n_ctx", 48))


def test_frozen_weights_that_are_not_there(tmp_path):
    with pytest.raises(SpecError, match="no weight's name ends in 'b_uot'. Did you mean"):
        train(recipe_from(changed(None, "frozen", ["b_uot"])), tmp_path / "run")
