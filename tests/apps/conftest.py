"""A store with two finished runs of a tiny model, and pages on it."""

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from mechbench.experiments.runner import run_experiment
from mechbench.experiments.spec import parse_spec
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model

APP = Path(__file__).parents[2] / "apps" / "dashboard.py"


@pytest.fixture(scope="package")
def tiny(tmp_path_factory):
    """A folder that holds the folder of a tiny model."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="package")
def stored(tmp_path_factory, tiny):
    """Two finished runs: of one step with seed 0, and with seed 1."""
    store = RunStore(tmp_path_factory.mktemp("dashboard") / "runs")
    steps = [{"analysis": "residual_sweep", "params": {"control": False, "letters": [1]}}]
    titles = ("First run", "Second run")
    specs = [small_spec(tiny, title=title, seed=i, steps=steps) for i, title in enumerate(titles)]
    return [run_experiment(parse_spec(spec, origin="The spec"), store) for spec in specs]


@pytest.fixture
def page(monkeypatch, tiny):
    """Opens a page of the dashboard on a store, at an address."""

    def open_page(store, name="start", **query):
        st.cache_resource.clear()
        monkeypatch.setenv("MECHBENCH_STORE", str(store))
        monkeypatch.setenv("MECHBENCH_MODELS", str(tiny.parent))
        monkeypatch.setenv("MECHBENCH_LOGIN", "0")
        app = AppTest.from_file(str(APP), default_timeout=30)
        if name != "start":
            app.run()
            app.switch_page(f"views/{name}.py")
        for key, value in query.items():
            app.query_params[key] = str(value)
        return app.run()

    return open_page
