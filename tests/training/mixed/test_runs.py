"""Training on the common corpus: runs, their export and their card."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mechbench.errors import SpecError, StoreError, TokenizerError
from mechbench.models.loading import load_model
from mechbench.training.card import render_card
from mechbench.training.corpora import score
from mechbench.training.export import TEST_SEED, export_model
from mechbench.training.loop import train
from mechbench.training.mixed.corpus import TASKS
from mechbench.training.recipe import recipe_from
from tests.training.mixed.conftest import TINY
from tests.training.test_loop import interrupt_at, same_weights, without_seconds


@pytest.fixture
def run(tiny_mixed, tmp_path):
    return train(tiny_mixed, tmp_path / "run")


def test_a_run_is_scored_per_task(run):
    assert [line["step"] for line in run.metrics] == [0, 2, 4, 5]
    assert all(line["task"] == list(TASKS) for line in run.metrics)
    assert not (run.folder / "snapshots").exists()


def test_interrupted_and_resumed_is_bit_identical(tiny_mixed, run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny_mixed, tmp_path / "parts", on_step=interrupt_at(3))
    resumed = train(tiny_mixed, tmp_path / "parts", resume=True)
    assert same_weights(run.model.state_dict(), resumed.model.state_dict())
    assert without_seconds(run.metrics) == without_seconds(resumed.metrics)


def test_export_stores_half_and_scores_what_it_stores(run, tiny_mixed, tokenizer, tmp_path):
    folder = tmp_path / "model"
    export_model([run.folder], folder, test_prompts=8, dtype=torch.float16)
    assert {w.dtype for w in load_file(folder / "model.safetensors").values()} == {torch.float16}
    metrics = json.loads((folder / "metrics.json").read_text())
    loaded = load_model(str(folder))
    assert loaded.W_E.dtype == torch.float32
    assert loaded.tokenizer("Then Anna").input_ids == tokenizer.encode("Then Anna").ids
    stored, exact = (
        score(tiny_mixed, model, tokenizer, 8, TEST_SEED) for model in (loaded, run.model)
    )
    assert metrics["seeds"][0]["task_loss"] == stored["task_loss"] != exact["task_loss"]
    assert metrics["control"] is None


def test_the_card_states_the_numbers_of_the_metrics(run, tmp_path):
    export_model([run.folder], tmp_path / "control", test_prompts=8)
    export_model([run.folder], tmp_path / "m", test_prompts=8, control=tmp_path / "control")
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    card = (tmp_path / "m" / "card.md").read_text()
    rows = {line.split(" | ")[0][2:]: line for line in card.splitlines() if line[:2] == "| "}
    seed = metrics["seeds"][0]
    for i, task in enumerate(TASKS):
        cells = [cell.strip() for cell in rows[task].strip("|").split("|")]
        baseline = metrics["baselines"][i]
        accuracy, loss = f"{seed['accuracy'][i]:.2%}", f"{seed['task_loss'][i]:.3f}"
        unigram, its_loss = f"{baseline['unigram']:.2%}", f"{baseline['unigram_loss']:.3f}"
        numbers = [str(seed["answers"][i]), loss, accuracy, loss, accuracy]
        assert cells == [task, *numbers, unigram, its_loss, f"{baseline['chance']:.2%}"]
    cost, config = metrics["cost"], run.model.config
    assert cost["cache_bytes_per_token"] == 2 * config.n_layers * config.d_model * 4
    assert f"| {cost['flops_per_token']:,.0f} |" in card and seed["data_hash"] in card
    assert f"| {cost['cache_bytes_per_token']:,.0f} |" in card
    assert "Below 90%, so not learnt: acronyms" in card
    assert card == render_card(metrics)
    learnt = metrics | {"seeds": [seed | {"accuracy": [0.95] * len(TASKS)}]}
    assert "Every task is above 90%." in render_card(learnt)


def test_a_control_that_was_scored_on_other_prompts_is_refused(run, tmp_path):
    export_model([run.folder], tmp_path / "control", test_prompts=4)
    with pytest.raises(StoreError, match="other prompts"):
        export_model([run.folder], tmp_path / "m", test_prompts=8, control=tmp_path / "control")
    with pytest.raises(StoreError, match="no control"):
        export_model([run.folder], tmp_path / "m", test_prompts=8, control=tmp_path)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ({"kind": "mixd"}, "corpus.kind: none is called 'mixd'. Use one of ['acronyms', 'mixed', "),
        ({"kind": "mixed", "share": {}}, "corpus.share is not a key. Did you mean 'shares'"),
        ({"kind": "mixed", "shares": {"recal": 1}}, "shares.recal is not a task. Did you mean 're"),
        ({"kind": "mixed", "shares": {"recall": 0.5}}, "the shares sum to 0.5, and must sum to 1"),
        ({"kind": "mixed", "shares": {"recall": -1}}, "greater than or equal to 0"),
        ({"kind": "mixed", "sequence_length": 65}, "sequence_length is 65, but model.n_ctx is 64"),
    ],
)
def test_a_wrong_corpus_is_explained(corpus, message):
    with pytest.raises(SpecError) as error:
        recipe_from(TINY | {"corpus": corpus})
    assert message in str(error.value)


def test_a_recipe_reads_back_from_its_dump(tiny_mixed):
    assert recipe_from(tiny_mixed.model_dump(mode="json")) == tiny_mixed


def test_another_tokenizer_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TokenizerError, match="tokenizer: mixed"):
        train(recipe_from(TINY | {"tokenizer": "acronyms"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
