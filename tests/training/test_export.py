"""From finished runs to a model folder and its card."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from mechbench.errors import StoreError
from mechbench.models.registry import variant
from mechbench.training.card import render_card
from mechbench.training.export import export_model
from mechbench.training.loop import train


@pytest.fixture
def runs(tiny_recipe, tmp_path):
    for seed in (0, 1):
        train(tiny_recipe.model_copy(update={"seed": seed}), tmp_path / f"run-{seed}")
    return [tmp_path / "run-0", tmp_path / "run-1"]


def test_the_folder_holds_the_first_run(runs, tmp_path):
    folder = tmp_path / "model"
    export_model(runs, folder, test_prompts=16)
    assert sorted(p.name for p in folder.iterdir()) == [
        "card.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
        "snapshots",
    ]
    config = json.loads((folder / "config.json").read_text())
    spec = variant(config["variant"])
    model = spec.build(spec.config(**config["config"]), "tiny")
    for name in ("model.safetensors", *(s["file"] for s in config["snapshots"])):
        model.load_state_dict(load_file(folder / name))
        assert (folder / name).read_bytes() == (runs[0] / name).read_bytes()
    assert [s["step"] for s in config["snapshots"]] == [0, 3, 6]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [row["seed"] for row in metrics["seeds"]] == [0, 1]
    assert metrics["seeds"][0]["data_hash"] != metrics["seeds"][1]["data_hash"]


def test_old_snapshots_do_not_stay(runs, tmp_path):
    old = tmp_path / "model" / "snapshots" / "step-000001.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    export_model(runs, tmp_path / "model", test_prompts=16)
    assert not old.exists()


def test_a_run_folder_is_a_model_folder(runs, tmp_path):
    export_model(runs[:1], tmp_path / "model", test_prompts=16)
    for name in ("config.json", "model.safetensors"):
        assert (runs[0] / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_unfinished_and_foreign_runs_are_refused(runs, tiny_recipe, tmp_path):
    longer = tiny_recipe.model_copy(update={"steps": 7})
    train(longer, tmp_path / "longer")
    with pytest.raises(StoreError, match="different recipes"):
        export_model([runs[0], tmp_path / "longer"], tmp_path / "model", test_prompts=16)
    (runs[0] / "model.safetensors").unlink()
    with pytest.raises(StoreError, match="not a finished training run"):
        export_model(runs, tmp_path / "model", test_prompts=16)
    assert not (tmp_path / "model").exists()


def test_card_states_the_numbers_of_the_metrics(runs, tmp_path):
    export_model(runs, tmp_path, test_prompts=16)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    card = (tmp_path / "card.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in card.splitlines()
        if re.match(r"\| \d", line)
    ]
    assert len(rows) == 2 + 3
    for cells, row in zip(rows, metrics["seeds"] + metrics["snapshots"], strict=True):
        assert int(cells[0].split()[0]) == row.get("seed", row.get("step"))
        accuracy = [cell for cell in cells if cell.endswith("%")]
        assert accuracy == [f"{100 * value:.2f}%" for value in row["accuracy"]]
        for value in row["logit_diff"]:
            assert f"{value:.2f}" in cells
    assert f"{metrics['parameters']:,} parameters" in card
    assert all(row["data_hash"] in card for row in metrics["seeds"])
    assert card == render_card(metrics)


def test_state_dict_is_whole(runs):
    weights = load_file(runs[0] / "model.safetensors")
    assert all(w.is_contiguous() and w.dtype == torch.float32 for w in weights.values())
