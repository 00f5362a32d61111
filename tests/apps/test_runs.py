"""The store's browser: filter, open, compare, copy, delete."""

from shutil import copytree

import pytest

from mechbench.experiments.listing import add_owner
from mechbench.experiments.saved import saved_figures
from mechbench.results.comparison import array_differences
from mechbench.results.run import open_run
from mechbench.tasks.typed_pairs import TypedPair, keep_pairs


def test_the_newest_run_is_shown_with_its_figures(page, stored):
    shown = page(stored[0].path.parent, "runs")
    assert not shown.exception and not shown.error and not shown.warning
    assert shown.header[0].value == "Second run"
    figures = saved_figures(stored[1]).values()
    assert [s.value for s in shown.subheader] == [f.title for f in figures]
    assert len(shown.dataframe[0].value) == 2
    assert "residual_sweep(" in shown.code[0].value and "mechbench run" in shown.code[1].value


def test_a_link_opens_its_run_and_choosing_writes_the_link(page, stored):
    shown = page(stored[0].path.parent, "runs", run=stored[0].run_id)
    assert shown.header[0].value == "First run" and not shown.warning
    shown.selectbox(key="url-run").select(stored[1].run_id).run()
    assert shown.header[0].value == "Second run"
    assert shown.query_params["run"] == stored[1].run_id


def test_a_link_to_nothing_says_so_and_shows_the_rest(page, stored):
    shown = page(stored[0].path.parent, "runs", run="../../etc", compare="no-run")
    assert not shown.exception and not shown.error
    assert "no run of this id" in shown.warning[0].value and "compare=" in shown.warning[1].value
    assert shown.header[0].value == "Second run"


def test_a_filter_in_the_address(page, stored):
    shown = page(stored[0].path.parent, "runs", filter="first residual")
    assert len(shown.dataframe[0].value) == 1 and shown.header[0].value == "First run"
    nothing = page(stored[0].path.parent, "runs", filter="no such words")
    assert not nothing.exception and "No run here fits" in nothing.info[0].value


def test_two_runs_are_compared(page, stored):
    ids = [run.run_id for run in stored]
    shown = page(stored[0].path.parent, "runs", run=ids[0], compare=ids[1])
    assert not shown.exception and not shown.error
    words = " ".join(m.value for m in shown.markdown)
    assert "seed" in words and len(shown.subheader) == 3
    results = [run.load_result("residual-sweep") for run in stored]
    (table,) = [t.value for t in shown.dataframe if "largest |difference|" in t.value]
    wanted = {line.name: line for line in array_differences(*results)}
    assert list(table["array"]) == list(wanted) and "effect" in wanted
    for name, found in zip(table["array"], table["largest |difference|"], strict=True):
        assert found == wanted[name].largest


def test_the_table_tells_where_runs_come_from(page, stored):
    shown = page(stored[0].path.parent, "runs")
    table = shown.dataframe[0].value
    origin = stored[0].load_result("residual-sweep").provenance
    assert list(table["weights"]) == [origin.model_revision[:12]] * 2
    assert list(table["device"]) == ["cpu"] * 2 and all(table["took"])
    assert list(table["git"]) == [(origin.git or "")[:12]] * 2
    again = page(stored[0].path.parent, "runs", filter=origin.model_revision[:12])
    assert len(again.dataframe[0].value) == 2


def test_deletion_asks_first(page, stored, tmp_path):
    for run in stored:
        copytree(run.path, tmp_path / run.run_id)
    shown = page(tmp_path, "runs", run=stored[0].run_id)
    button = shown.button(key=f"delete-{stored[0].run_id}")
    assert button.disabled
    shown.checkbox(key=f"sure-{stored[0].run_id}").check().run()
    shown.button(key=f"delete-{stored[0].run_id}").click().run()
    assert not shown.exception and not shown.error
    assert [p.name for p in tmp_path.iterdir()] == [stored[1].run_id]
    assert shown.header[0].value == "Second run"


def test_runs_of_other_users_are_not_listed(page, stored, tmp_path):
    for run in stored:
        copytree(run.path, tmp_path / run.run_id)
    add_owner(open_run(tmp_path / stored[1].run_id), "somebody-else")
    shown = page(tmp_path, "runs")
    assert list(shown.dataframe[0].value["run"]) == [stored[0].run_id]
    linked = page(tmp_path, "runs", run=stored[1].run_id)
    assert linked.header[0].value == "Second run"  # whoever is given the link may look
    assert not [b for b in linked.button if b.label == "Delete"]


def test_a_damaged_figure_is_an_error_on_the_page(page, stored, tmp_path):
    copytree(stored[0].path, tmp_path / stored[0].run_id)
    (tmp_path / stored[0].run_id / "figures" / "residual-sweep.figure.json").write_text("{")
    shown = page(tmp_path, "runs")
    assert not shown.exception
    assert "stored figure cannot be read" in shown.error[0].value


SECRET = "The Secret Prompt Of Somebody"


def everything(shown):
    """All texts of a page, as one."""
    parts = [*shown.markdown, *shown.caption, *shown.warning, *shown.error, *shown.info]
    parts += [*shown.code, *shown.subheader, *shown.header]
    texts = [str(part.value) for part in parts]
    texts += [str(table.value) for table in shown.dataframe]
    texts += [str(box.options) + str(box.value) for box in shown.selectbox]
    texts += [str(area.value) for area in shown.text_area]
    return "\n".join(texts).replace("\\", "")


@pytest.mark.parametrize("name", ["start", "runs", "patching", "prompts"])
@pytest.mark.parametrize("guess", [None, "start of an id"])
def test_nothing_of_another_user_is_listed_anywhere(page, stored, tmp_path, name, guess):
    """Neither runs nor typed prompts; also not by the start of an id, or in a message."""
    run = stored[1]
    copytree(run.path, tmp_path / run.run_id)
    add_owner(open_run(tmp_path / run.run_id), "somebody-else")
    pairs = keep_pairs([TypedPair(SECRET, SECRET, " x")] * 2, tmp_path / "prompts")
    query = {"run": run.run_id[:14]} if guess else {}
    shown = page(tmp_path, name, **query)
    assert not shown.exception
    for secret in (run.run_id, "Second run", SECRET, pairs.stem):
        assert secret not in everything(shown)
