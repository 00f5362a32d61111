"""The dashboard draws what a run folder holds."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from mechbench.experiments.runner import run_experiment
from mechbench.experiments.saved import saved_figures
from mechbench.experiments.spec import parse_spec
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model

PAGE = Path(__file__).parents[2] / "apps" / "dashboard.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    spec = small_spec(write_tiny_model(folder / "tiny"), title="A small run")
    return run_experiment(parse_spec(spec, origin="The spec"), RunStore(folder / "runs"))


def page(store: Path, monkeypatch) -> AppTest:
    monkeypatch.setenv("MECHBENCH_STORE", str(store))
    return AppTest.from_file(str(PAGE), default_timeout=30).run()


def test_a_run_is_shown_with_its_figures(run, monkeypatch):
    shown = page(run.path.parent, monkeypatch)
    assert not shown.exception and not shown.error
    assert shown.header[0].value == "A small run"
    assert shown.selectbox[0].value == run.run_id
    figures = saved_figures(run).values()
    assert [s.value for s in shown.subheader] == [f.title for f in figures]
    assert [c.value for c in shown.caption] == [f.caption for f in figures]


def test_an_empty_folder_says_what_to_do(tmp_path, monkeypatch):
    shown = page(tmp_path / "none", monkeypatch)
    assert not shown.exception
    assert "mechbench run acronyms" in shown.info[0].value


def test_a_damaged_figure_is_an_error_on_the_page(run, monkeypatch):
    path = run.figures / "head-sweep.figure.json"
    whole = path.read_text()
    path.write_text("{")
    try:
        shown = page(run.path.parent, monkeypatch)
    finally:
        path.write_text(whole)
    assert not shown.exception
    assert "stored figure cannot be read" in shown.error[0].value
