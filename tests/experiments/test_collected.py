"""Figures collected from runs, files and baskets, in the order asked for."""

from dataclasses import replace

import pytest

from mechbench.errors import MechbenchError, StoreError
from mechbench.experiments.collected import collect, run_of
from mechbench.figures.basket import Basket
from mechbench.results.store import RunStore
from tests.figures.gallery import heads, lines, table


def _run(root, name, figures):
    steps = [{"id": figure.name} for figure in figures]
    run = RunStore(root).create({"name": name, "steps": steps}, slug=name)
    run.figures.mkdir()
    for figure in figures:
        (run.figures / f"{figure.name}.figure.json").write_text(figure.to_json())
    return run


@pytest.fixture
def root(tmp_path):
    _run(tmp_path, "first", [lines(), heads()])
    _run(tmp_path, "second", [replace(table(), name="heads")])
    return tmp_path


def _names(basket):
    return [figure.name for figure in basket.figures()]


def test_runs_give_all_their_figures_and_steps_one(root):
    basket = collect(["second", "first"], root)
    assert _names(basket) == ["heads", "faithfulness", "heads-2"]
    assert basket.entries[0].figure.title == table().title
    (entry,) = collect(["first:heads"], root).entries
    assert entry.figure.to_json() == heads().to_json()
    assert entry.source.startswith("run 2") and entry.source.endswith(", step heads")


def test_files_of_figures_and_of_baskets_stand_beside_runs(root, tmp_path):
    (tmp_path / "any.json").write_text(heads().to_json())
    Basket().add(lines(), caption="Mine.", preset="text").save(tmp_path / "b.json")
    sources = [str(tmp_path / "any.json"), "second", str(tmp_path / "b.json")]
    basket = collect(sources, root)
    assert _names(basket) == ["heads", "heads-2", "faithfulness"]
    assert basket.entries[0].source == "any.json"
    assert (basket.entries[2].caption, basket.entries[2].preset) == ("Mine.", "text")
    (one,) = collect([f"{tmp_path / 'b.json'}:faithfulness"], root).entries
    assert one.caption == "Mine."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("third", "third"),
        ("first:haeds", "no figure 'haeds'. Did you mean 'heads'"),
        ("none.json", "no figure or basket at 'none.json'"),
    ],
)
def test_what_is_not_there_is_named(root, source, message):
    with pytest.raises(StoreError, match=message):
        collect([source], root)


def test_a_basket_has_no_figure_of_another_name(root, tmp_path):
    Basket().add(lines()).save(tmp_path / "b.json")
    with pytest.raises(MechbenchError, match="no figure 'heads'.*faithfulness"):
        collect([f"{tmp_path / 'b.json'}:heads"], root)


def test_a_damaged_file_is_a_store_error(root, tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        collect([str(tmp_path / "bad.json")], root)


def test_a_file_is_of_no_run(root):
    assert run_of("any.json", root) is None and run_of("any.json:heads", root) is None
    run = run_of("first:heads", root)
    assert run is not None and run.spec["name"] == "first"
