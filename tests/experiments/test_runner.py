"""Runs: saved step by step, found again, interrupted, resumed, failed."""

import os

import pytest

from mechbench.errors import StoreError, UnsupportedHookError
from mechbench.experiments.observer import Observer
from mechbench.experiments.runner import run_experiment
from mechbench.experiments.saved import find_run, saved_figures, saved_results
from mechbench.experiments.spec import parse_spec
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model

FIRST, SECOND = "residual-sweep", "head-sweep"


class Heard(Observer):
    """Writes down what it hears; interrupts at a step where asked to."""

    def __init__(self, interrupt_at=None):
        self.events = []
        self.interrupt_at = interrupt_at

    def loading(self, model):
        self.events.append("loading")

    def step_started(self, step, number, of):
        self.events.append(("started", step, number, of))

    def step_advanced(self, step, done, total):
        if step == self.interrupt_at:
            raise KeyboardInterrupt

    def step_finished(self, step, seconds):
        self.events.append(("finished", step))

    def step_kept(self, step):
        self.events.append(("kept", step))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def spec(model):
    return parse_spec(small_spec(model), origin="The spec")


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """A finished run, for the tests that only look."""
    store = RunStore(tmp_path_factory.mktemp("finished"))
    return run_experiment(parse_spec(small_spec(model), origin="The spec"), store)


def test_a_finished_run_holds_results_figures_and_its_spec(finished, spec):
    assert finished.status().state == "finished"
    assert finished.spec == spec.canonical()
    assert list(saved_results(finished)) == list(saved_figures(finished)) == [FIRST, SECOND]
    for result in saved_results(finished).values():
        assert result.provenance.spec_hash == spec.digest() == finished.spec_hash
        assert result.provenance.n_prompts == 4
    for step in (FIRST, SECOND):
        assert (finished.figures / f"{step}.svg").is_file()
    assert not any((finished.path / "partial").iterdir())
    assert "step head-sweep finished" in (finished.path / "log.txt").read_text()


def test_an_equal_spec_finds_the_finished_run_and_computes_nothing(finished, model):
    heard = Heard()
    other_outputs = small_spec(model, title="Another title", outputs={"preset": "column"})
    again = run_experiment(
        parse_spec(other_outputs, origin="The spec"), RunStore(finished.path.parent), observer=heard
    )
    assert again == finished and heard.events == []


def test_force_makes_a_run_of_its_own_with_equal_numbers(finished, spec):
    forced = run_experiment(spec, RunStore(finished.path.parent), force=True)
    assert forced.path != finished.path
    for step, result in saved_results(finished).items():
        arrays = forced.load_result(step).field_arrays()
        for name, array in result.field_arrays().items():
            assert array.identical(arrays[name])


def test_an_interrupted_run_is_resumed_and_ends_with_the_same_numbers(spec, finished, tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(spec, store, observer=Heard(interrupt_at=SECOND))
    (left,) = store.list()
    assert left.status.state == "interrupted"
    run = find_run("small", tmp_path)
    assert run.has(FIRST) and not run.has(SECOND)
    with pytest.raises(StoreError, match="unfinished run of this spec .interrupted.*--resume"):
        run_experiment(spec, store)
    heard = Heard()
    done = run_experiment(spec, store, resume=True, observer=heard)
    assert done == run and done.status().state == "finished"
    assert heard.events[1:] == [("kept", FIRST), ("started", SECOND, 2, 2), ("finished", SECOND)]
    arrays = done.load_result(SECOND).field_arrays()
    for name, array in finished.load_result(SECOND).field_arrays().items():
        assert array.identical(arrays[name])


def test_a_failed_run_keeps_its_results_and_the_message(model, tmp_path):
    steps = [
        *small_spec(model)["steps"][:1],
        {"analysis": "circuit_evaluation", "params": {"heads": [[9, 9]]}},
    ]
    with pytest.raises(UnsupportedHookError):
        run_experiment(
            parse_spec(small_spec(model, steps=steps), origin="The spec"), RunStore(tmp_path)
        )
    run = find_run("small", tmp_path)
    assert run.status().state == "failed" and "9.9" in (run.status().error or "")
    assert run.has(FIRST)


def test_a_figure_that_is_missing_is_drawn_without_computing_again(spec, finished):
    drawn = finished.figures / f"{SECOND}.figure.json"
    before = drawn.read_text()
    drawn.unlink()
    finished.set_status("failed", error="the figure could not be drawn")
    saved = (finished.step_path(SECOND) / "result.json").stat().st_mtime_ns
    run_experiment(spec, RunStore(finished.path), resume=True)
    assert drawn.read_text() == before
    assert (finished.step_path(SECOND) / "result.json").stat().st_mtime_ns == saved


def test_a_run_of_a_living_process_is_left_alone(spec, tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    store.create(spec.canonical(), spec_hash=spec.digest(), slug=spec.name)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(StoreError, match="is being run by process"):
        run_experiment(spec, store, resume=True)


def test_a_run_folder_is_resumed_by_its_own_spec_only(finished, spec, model):
    with pytest.raises(StoreError, match="folder of one run"):
        run_experiment(spec, RunStore(finished.path))
    other = parse_spec(small_spec(model, seed=3), origin="The spec")
    with pytest.raises(StoreError, match="seed .there 0, given 3"):
        run_experiment(other, RunStore(finished.path), resume=True)
    assert run_experiment(spec, RunStore(finished.path), resume=True) == finished


def test_runs_are_found_by_folder_by_name_and_by_the_start_of_their_id(finished):
    root = finished.path.parent
    assert find_run(str(finished.path), root) == finished
    assert find_run("small", root).spec_hash == finished.spec_hash
    assert find_run(finished.run_id, root) == finished
    with pytest.raises(StoreError, match="'smal'"):
        find_run("smal", root)
