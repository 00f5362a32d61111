"""What the terminal, the report and a card say of back-patching is what the result holds."""

import json

import pytest

from mechbench.analyses.back_patching import back_patching
from mechbench.errors import SpecError
from mechbench.experiments import back_patching_summary
from mechbench.experiments.card_measures import card_measures
from mechbench.experiments.published import published_section
from mechbench.experiments.summary import headline
from tests.analyses.late_hop import late_model, late_task


@pytest.fixture(scope="module")
def result():
    return back_patching(late_model(), late_task(), method="argmax")


def test_a_line_for_each_position(result):
    at_t1, at_t2 = headline({"pairs": result})
    assert "at t1" in at_t1 and "any cell 1.00 [1.00, 1.00]" in at_t1
    assert "the fixed cell 2 to 0 1.00" in at_t1 and "n = 12, fixed cell n = 6" in at_t1
    assert "inflated by the number of tries" in at_t1 and "any cell 0.00" in at_t2


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
