"""The store's browser: filter, open, compare, copy, delete."""

from shutil import copytree

from mechbench.experiments.listing import add_owner
from mechbench.experiments.saved import saved_figures
from mechbench.results.run import open_run


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
    assert "No run" in shown.warning[0].value and "compare=" in shown.warning[1].value
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
