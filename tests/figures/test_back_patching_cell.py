"""One grid and one cell of a result, with the numbers that the result holds."""

import pytest

from mechbench.analyses.back_patching import back_patching
from mechbench.errors import MechbenchError
from mechbench.figures.back_patching_cell import (
    back_patching_cell_figure,
    back_patching_grid_figure,
    fixed_cell,
)
from tests.analyses.two_hop_models import answerable, tiny_gpt2
from tests.figures.style import check_caption, check_pdf, check_stored

_AT = {"rule": "text", "position": "t1"}


@pytest.fixture(scope="module")
def found():
    model = tiny_gpt2(scale=1.0)
    return back_patching(model, answerable(model, 30), max_new_tokens=2)


@pytest.mark.parametrize("group", ["incorrect", "correct"])
@pytest.mark.parametrize("state", ["own", "another query's", "noise"])
def test_a_grid(found, group, state):
    figure = back_patching_grid_figure(found, state=state, group=group, **_AT)
    check_caption(figure)
    check_stored(figure)
    check_pdf(figure, "column")
    (panel,) = figure.panels
    members = found.sets.values == group
    mean = found.success.sel(rule="text", state=state, position="t1")[members].mean("prompt")
    assert (panel.values == mean.transpose("source_layer", "target_layer").values)[2, 0]
    assert panel.marked == (fixed_cell(found, "text", "t1"),)
    assert f"{members.sum()} queries of the {group} set" in figure.caption


def test_a_cell_going_back_has_all_controls(found):
    figure = back_patching_cell_figure(found, group="incorrect", source=2, target=0, **_AT)
    check_caption(figure)
    check_pdf(figure, "column")
    (bars,) = figure.panels
    shown = dict(zip(bars.groups, bars.series[0].values, strict=True))
    at = dict(rule="text", position="t1", source_layer=2, target_layer=0)
    incorrect = found.sets.values == "incorrect"
    states = {"back-patched": "own", "other query": "another query's", "noise": "noise"}
    for name, state in states.items():
        mean = found.success.sel(state=state, **at).values[incorrect].mean()
        assert shown.pop(name) == pytest.approx(mean)
    mean = found.other_answer.sel(at).values[incorrect].mean()
    assert shown.pop("other answer") == pytest.approx(mean)
    at.update(source_layer=0, target_layer=2)
    mean = found.success.sel(state="own", **at).values[incorrect].mean()
    assert shown.pop("reversed") == pytest.approx(mean)
    assert set(shown) == {"unpatched"}
    assert (bars.series[0].low <= bars.series[0].values).all()


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ((0, 2), ("unpatched", "forward", "reversed", "other answer")),
        ((1, 1), ("unpatched",)),
    ],
)
def test_other_cells_have_what_was_run(found, cell, names):
    source, target = cell
    figure = back_patching_cell_figure(found, group="correct", source=source, target=target, **_AT)
    check_caption(figure)
    assert figure.panels[0].groups == names


@pytest.mark.parametrize(
    "options",
    [{"rule": "x"}, {"group": "neither"}, {"position": "e1"}, {"source": 9}, {"target": -1}],
)
def test_what_there_is_not(found, options):
    given = {**_AT, "group": "incorrect", "source": 2, "target": 0, **options}
    with pytest.raises(MechbenchError):
        back_patching_cell_figure(found, **given)
