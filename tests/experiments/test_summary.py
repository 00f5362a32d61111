"""Summaries say what the results hold: heads, intervals, controls, published and found."""

import numpy as np
import pytest
import xarray as xr

from mechbench.analyses.circuit_search import circuit_search
from mechbench.analyses.compare_published import compare_published
from mechbench.experiments.estimates import with_interval
from mechbench.experiments.published import published_section
from mechbench.experiments.summary import headline, summary_tables
from mechbench.models.loading import load_model
from mechbench.results.circuit_search import ALL_LETTERS
from mechbench.tasks.acronyms import acronyms


@pytest.fixture(scope="module")
def searched():
    model = load_model("acronyms-gpt2", fold_ln=True)
    task = acronyms(model.tokenizer, n=8)
    search = circuit_search(model, task, n_candidates=4, n_random=5)
    return search, compare_published(model, task, search=search)


def test_an_interval_is_mean_low_high():
    estimate = xr.DataArray([0.5, 0.25, 0.75], coords={"estimate": ["mean", "low", "high"]})
    assert with_interval(estimate) == "0.50 [0.25, 0.75]"
    assert with_interval(estimate * -0.001) == "0.00 [0.00, 0.00]"


def test_the_circuit_table_has_a_row_for_each_head(searched):
    search, _ = searched
    (table,) = summary_tables({"search": search})
    assert [row[0] for row in table.rows] == list(search.heads)
    assert [row[1] for row in table.rows] == [search.roles[h] for h in search.heads]
    assert f"{len(search.heads)} of 32 heads" in table.title
    assert table.numeric == {0, 2, 3, 4}


def test_the_headline_has_interval_n_and_control(searched):
    search, _ = searched
    lines = headline({"search": search})
    expected = with_interval(search.faithfulness.sel(answer=ALL_LETTERS))
    assert expected in lines[0] and "4 held-out prompts" in lines[0]
    assert "5 random sets" in lines[0] and "p = " in lines[0]
    assert (len(lines) == 2) == search.reached


def test_nothing_is_set_beside_numbers_of_another_model(searched):
    _, compared = searched
    section = published_section({"compare": compared})
    assert not section.comparable
    assert all("measured here" not in table.columns for table in section.tables)
    assert "Nothing on this page was measured on GPT-2 small" in section.untested[0]
    assert "not comparable" in " ".join(section.text)


def test_published_and_found_stand_side_by_side_where_they_compare(searched):
    _, compared = searched
    estimate = xr.DataArray(np.array([1.0, 0.5, 1.5]), coords={"estimate": ["mean", "low", "high"]})
    same = {
        **compared.field_values(),
        "comparable": True,
        "overlap": {"both": 1, "published only": 7, "found only": 3},
        "overlap_p_value": 0.25,
        "found_heads": ("8.11", "0.1"),
        "found_roles": {"8.11": "letter mover", "0.1": "other"},
        "cumulative_here": estimate * xr.ones_like(compared.cumulative_published),
        "full_here": estimate * xr.ones_like(compared.full_published),
        "effects_here": estimate * xr.ones_like(compared.effects_published),
    }
    section = published_section({"compare": type(compared)(**same, provenance=compared.provenance)})
    heads, cumulative, effects = section.tables
    assert section.comparable
    assert ("8.11", "letter mover", "letter mover") in heads.rows
    assert ("0.1", "–", "other") in heads.rows and "p = 0.25" in heads.note
    assert cumulative.rows[-1][1:] == ("1.20, 2.00, 3.40", ", ".join(["1.00 [0.50, 1.50]"] * 3))
    assert effects.columns[1:] == ("published", "measured here")
    assert effects.rows[0][1:] == ("-0.98 (F)", "1.00 [0.50, 1.50]")


def test_without_a_comparison_the_section_says_so():
    section = published_section({})
    assert section.tables == () and "Nothing published" in section.text[0]
