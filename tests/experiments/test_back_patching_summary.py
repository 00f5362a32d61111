"""What the terminal, the report and a card say of back-patching is what the result holds."""

import json

import pytest

from mechbench.analyses.back_patching import back_patching
from mechbench.errors import SpecError
from mechbench.experiments import back_patching_summary
from mechbench.experiments.card_measures import card_measures
from mechbench.experiments.published import published_section
from mechbench.experiments.summary import headline
from mechbench.results.back_patching import MEASURES
from tests.analyses.late_hop import late_model, late_task


@pytest.fixture(scope="module")
def result():
    return back_patching(late_model(), late_task(), method="argmax")


def test_a_line_for_each_position(result):
    at_t1, at_t2 = headline({"pairs": result})
    assert "at t1" in at_t1 and "any cell 1.00 [1.00, 1.00]" in at_t1
    assert "the fixed cell 2 to 0 1.00" in at_t1 and "n = 12, fixed cell n = 6" in at_t1
    assert "inflated by the number of tries" in at_t1 and "any cell 0.00" in at_t2


@pytest.mark.parametrize(("cell", "first"), [((2, 0), "1.00"), ((0, 2), "1.00"), ((1, 0), "0.00")])
def test_the_table_of_a_cell_and_its_controls(result, cell, first):
    at = dict(rule="first token", group="incorrect", position="t1")
    table = back_patching_summary.control_table(result, cell=cell, **at)
    assert table.columns[1:] == (
        f"cell {cell[0]} to {cell[1]}, n=12",
        "fixed cell 2 to 0, n=6",
        "any cell, n=12",
        "mean over cells, n=12",
    )
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["back-patched"][0].startswith(first)  # of a forward cell the one that goes back
    assert rows["back-patched"][1:3] == ("1.00 [1.00, 1.00]", "1.00 [1.00, 1.00]")
    assert rows["forward"][0] == "0.00 [0.00, 0.00]" and rows["unpatched"][1] == ""
    assert (rows["noise"][0] == "not run") == (cell[0] < cell[1])
    bare = back_patching_summary.control_table(result, cell=None, **at)
    assert bare.columns == (table.columns[0], *table.columns[2:])
    assert [row[0] for row in bare.rows] == list(MEASURES)


def test_published_numbers_stand_apart_from_measured_ones(result):
    section = published_section({"pairs": result})
    (table,) = section.tables
    assert table.columns == ("share of queries", "published", "measured here, by first token")
    assert table.rows[0][1:] == ("66 % (P)", "t1 1.00 [1.00, 1.00]; t2 0.00 [0.00, 0.00]")
    assert table.rows[2][2] == "no such query"
    assert any("not comparable" in text for text in section.text)


def test_damaged_published_numbers(result, tmp_path, monkeypatch):
    broken = tmp_path / "published.json"
    broken.write_text("{")
    monkeypatch.setattr(back_patching_summary, "_FILE", broken)
    with pytest.raises(SpecError, match="cannot be read"):
        published_section({"pairs": result})


def test_rows_of_a_card(result):
    rows = {row["what"]: row for row in card_measures({"pairs": result}, "mechbench run x")}
    row = rows["back-patching at t1, incorrect set, fixed cell 2 to 0: back-patched"]
    assert (row["value"], row["low"], row["high"], row["n"]) == pytest.approx((1, 1, 1, 6))
    assert rows["back-patching at t2, incorrect set, any cell: back-patched"]["value"] == 0
    assert rows["back-patching at t1, incorrect set, any cell: other query"]["n"] == 12
    assert not any("correct set, fixed" in what and "incorrect" not in what for what in rows)
    assert json.loads(json.dumps(rows)) == rows
