"""Training on a world: runs, their export and their card."""

import json

import numpy as np
import pytest
import torch

from mechbench.models.loading import load_model
from mechbench.training.card import render_card
from mechbench.training.corpora import score
from mechbench.training.export import TEST_SEED, export_model
from mechbench.training.loop import train
from mechbench.training.two_hop.evaluation import SETS
from tests.training.test_loop import interrupt_at, same_weights, without_seconds
from tests.training.two_hop.conftest import with_corpus


@pytest.fixture
def run(tiny, tmp_path):
    return train(tiny, tmp_path / "run")


def test_a_run_is_scored_per_set(run):
    assert [line["step"] for line in run.metrics] == [0, 2, 4, 5]
    assert all(line["set"] == list(SETS) for line in run.metrics)


def test_interrupted_and_resumed_is_bit_identical(tiny, run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "parts", on_step=interrupt_at(3))
    resumed = train(tiny, tmp_path / "parts", resume=True)
    assert same_weights(run.model.state_dict(), resumed.model.state_dict())
    assert without_seconds(run.metrics) == without_seconds(resumed.metrics)


def test_export_stores_half_and_its_card_states_the_metrics(tiny, run, tmp_path, tokenizer):
    train(tiny.model_copy(update={"seed": 1}), tmp_path / "run-1")
    train(with_corpus(one_hop="is"), tmp_path / "run-is")
    export_model([tmp_path / "run-is"], tmp_path / "twin", test_prompts=64)
    folder = tmp_path / "model"
    export_model(
        [run.folder, tmp_path / "run-1"],
        folder,
        test_prompts=64,
        dtype=torch.float16,
        control=tmp_path / "twin",
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    card = (folder / "card.md").read_text()
    assert card == render_card(metrics)
    loaded = load_model(str(folder))
    assert loaded.config == run.model.config and loaded.tokenizer.bos_token_id == 0
    stored = score(tiny, loaded, tokenizer, 64, TEST_SEED)
    for key in ("accuracy", "bridge", "answers"):
        assert metrics["seeds"][0][key] == stored[key]
    twin = json.loads((tmp_path / "twin" / "metrics.json").read_text())["seeds"][0]
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line[:2] == "| "]
    by_name = {row[0]: row[1:] for row in rows}
    for i, title in enumerate(("one hop", "two hops, in training", "ID-test", "ID-OOD", "OOD-ID")):
        accuracies = [f"{of['accuracy'][i]:.2%}" for of in (*metrics["seeds"], twin)]
        assert by_name[title] == [str(stored["answers"][i]), *accuracies]
    assert [f"{share:.2%}" for share in twin["bridge"]] in [row[1:] for row in rows]
    assert all(f"`{row['data_hash']}`" in card for row in metrics["seeds"])
    assert "`the {r} {e}`, whose answer is read at the entity itself" in card
    assert "whose answer is read at `is`" in (tmp_path / "twin" / "card.md").read_text()


def test_another_seed_says_so(run, tiny, tmp_path):
    train(tiny.model_copy(update={"seed": 1}), tmp_path / "run-1")
    export_model([tmp_path / "run-1"], tmp_path / "m", test_prompts=8)
    card = (tmp_path / "m" / "card.md").read_text()
    assert card.startswith("# tiny-two-hop-seed1\n")
    assert "`mechbench train tiny-two-hop --set seed=1`" in card


def test_a_step_is_one_mean_over_answers(tiny, corpus, run, tokenizer):
    """The logged loss of rows of three lengths is that of a plain loop over answers."""
    from mechbench.training.loop import initial_model

    model, losses = initial_model(tiny, tokenizer), []
    for batch in corpus.batches(0):
        for ids, scored in zip(batch.ids, batch.scored, strict=True):
            log_probs = model(torch.from_numpy(ids)[None])[0].double().log_softmax(-1)
            losses += [-log_probs[at - 1, ids[at]].item() for at in np.flatnonzero(scored)]
    seen = []

    def first(done, total, metrics):
        seen.append(metrics["loss"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, run.folder.parent / "again", on_step=first)
    assert seen == [pytest.approx(sum(losses) / len(losses), rel=1e-5)]
