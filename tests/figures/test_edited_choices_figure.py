"""The figure writes the interval into each cell, and n and the control into its tables."""

import numpy as np
import pytest

from mechbench.analyses.edited_choices import edited_choices
from mechbench.experiments.estimates import with_interval
from mechbench.figures.edited_choices import edited_choices_figure
from mechbench.figures.spec import Heatmap, Table
from tests.analyses.choice_models import choices, planted_model


@pytest.fixture(scope="module")
def result():
    task = choices(9, families=["attribute"], gold="not_first")
    return edited_choices(planted_model(), task, neurons=["2.7"], target="right label", n_random=2)


@pytest.mark.parametrize("argmax", ["any token", "offered labels"])
def test_cells_hold_shares_with_intervals(result, argmax):
    figure = edited_choices_figure(result, argmax=argmax)
    panels = figure.panels[:3]
    for panel, edit in zip(panels, ("no edit", "chosen neurons", "random neurons"), strict=True):
        assert isinstance(panel, Heatmap) and panel.cell_text is not None
        share = result.confusion.sel(edit=edit, argmax=argmax)
        assert [row[0] for row in panel.rows] == ["B", "C", "D"]  # A is never right here
        np.testing.assert_allclose(panel.values, share.sel(estimate="mean")[1:])
        cell = share.sel(gold="C", answered="C")
        assert panel.cell_text[1][2] == with_interval(cell)
    counts = result.counts.sel(edit="no edit", argmax=argmax).sum("answered")
    assert panels[0].rows == tuple(f"{g} ({int(counts.sel(gold=g))})" for g in "BCD")


@pytest.mark.parametrize("argmax", ["any token", "offered labels"])
def test_tables_hold_n_changes_and_the_control(result, argmax):
    figure = edited_choices_figure(result, argmax=argmax)
    shares, differences = figure.panels[3:]
    assert isinstance(shares, Table) and isinstance(differences, Table)
    assert argmax in shares.title and argmax in differences.title
    at = dict(measure="answered first label", items="gold later", argmax=argmax)
    rates, change = result.rates.sel(**at), result.change.sel(**at)
    own = result.beyond_random.sel(**at)
    for table, wanted in (
        (shares, [rates.sel(edit=e) for e in ("no edit", "chosen neurons", "random neurons")]),
        (differences, [change.sel(edit=e) for e in ("chosen neurons", "random neurons")] + [own]),
    ):
        rows = {row[0]: row[1:] for row in table.rows}
        assert rows["accuracy, gold first"] == ("0", "–", "–", "–")
        assert rows["anchored rate"] == ("9", *map(with_interval, wanted))
    assert "told each prompt's answer" in figure.caption and "2 draws" in figure.caption
    assert "bit for bit" in figure.caption
