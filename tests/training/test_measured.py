"""Numbers of analyses on a card."""

import json

import pytest

from mechbench.errors import StoreError
from mechbench.training.annotate import annotate
from mechbench.training.card import render_card
from mechbench.training.export import export_model
from mechbench.training.loop import train
from mechbench.training.measured import measured_section, read_measured

ROW = {
    "what": "fixed cell 2 -> 0, OOD-ID",
    "value": 0.125,
    "low": 0.1,
    "high": 0.15,
    "n": 744,
    "command": "mechbench run backpatch.yaml",
}


def written(tmp_path, content):
    path = tmp_path / "measured.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_rows_stand_in_the_card(tiny_recipe, tmp_path):
    run = train(tiny_recipe, tmp_path / "run")
    rows = [ROW, ROW | {"what": "bridge", "low": None, "high": None}]
    export_model([run.folder], tmp_path / "plain", test_prompts=8)
    export_model([run.folder], tmp_path / "m", test_prompts=8, measured=written(tmp_path, rows))
    plain, card = ((tmp_path / name / "card.md").read_text() for name in ("plain", "m"))
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["measured"] == rows and card == render_card(metrics)
    assert card == plain + measured_section(rows) and "analyses" not in plain
    expected = "| fixed cell 2 -> 0, OOD-ID | 0.125 | 0.1 to 0.15 | 744 | `mechbench run backpatch"
    assert expected in card and "| bridge | 0.125 |  | 744 |" in card
    metrics["recipe"]["notes"] = "Of two runs the first."
    told = "\n## Notes\n\nOf two runs the first.\n"
    assert render_card(metrics) == plain + told + measured_section(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "cannot be read as JSON"),
        ({"what": 1}, "must hold a JSON list"),
        ([ROW, {"what": "x"}], "row 2: its keys must be what, value, low, high, n, command"),
        ([ROW | {"value": "high"}], "row 1: value must be a number"),
        ([ROW | {"low": None}], "low and high must both be numbers or both null"),
        ([ROW | {"n": 1.5, "what": ""}], "what must be text without |; row 1: n must be a whole"),
    ],
)
def test_files_that_hold_no_measured_numbers(tmp_path, content, message):
    with pytest.raises(StoreError) as error:
        read_measured(written(tmp_path, content))
    assert message in str(error.value)


def test_it_is_read_before_anything_is_scored(tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        export_model([tmp_path / "no-run"], tmp_path / "m", measured=tmp_path / "none.json")


def test_rows_can_be_added_to_a_folder_later(tiny_recipe, tmp_path):
    run = train(tiny_recipe, tmp_path / "run")
    rows = written(tmp_path, [ROW])
    export_model([run.folder], tmp_path / "m", test_prompts=8, measured=rows)
    export_model([run.folder], tmp_path / "later", test_prompts=8)
    annotate(tmp_path / "later", rows)
    annotate(tmp_path / "later", rows)  # in the place of those that are there
    for name in ("metrics.json", "card.md"):
        assert (tmp_path / "later" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()
    with pytest.raises(StoreError, match=r"run-not-exported has no metrics\.json"):
        annotate(tmp_path / "run-not-exported", rows)
