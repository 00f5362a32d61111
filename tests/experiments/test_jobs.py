"""Background jobs: one at a time on a device, cancelled within a batch, owned."""

import time
from threading import Event

import pytest

from mechbench.errors import MechbenchError, StoreError
from mechbench.experiments.deletion import delete_run
from mechbench.experiments.jobs import JobQueue
from mechbench.experiments.runner import carry_out
from mechbench.experiments.spec import parse_spec
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("jobs") / "tiny")


def spec(model, **changes):
    return parse_spec(small_spec(model, **changes), origin="The spec")


def ended(queue, run_id):
    for _ in range(600):
        progress = queue.progress(run_id)
        if progress.over:
            return progress
        time.sleep(0.05)
    raise AssertionError(progress)


def test_a_job_is_a_run_that_finishes(model, tmp_path):
    queue = JobQueue(RunStore(tmp_path), carry_out)
    run = queue.submit(spec(model), owner="a", device="cpu")
    progress = ended(queue, run.run_id)
    assert progress.state == "finished" and progress.error is None
    assert run.steps() == ["residual-sweep", "head-sweep"] and progress.done == progress.total > 0
    assert run.status().state == "finished"
    again = queue.submit(spec(model), owner="b", device="cpu")
    assert again.run_id == run.run_id and queue.mine("b") == []


class Held:
    """Work that waits for a word before each of three batches."""

    def __init__(self):
        self.go, self.batches = Event(), []

    def __call__(self, spec, run, observer):
        try:
            observer.step_started("only", 1, 1)
            for batch in range(3):
                self.go.wait(5)
                self.batches.append((run.run_id, batch))
                observer.step_advanced("only", batch + 1, 3)
            run.set_status("finished")
        except KeyboardInterrupt:
            run.set_status("interrupted")
            raise


def test_one_at_a_time_on_a_device_and_nobody_sees_another_ones(model, tmp_path):
    work = Held()
    queue = JobQueue(RunStore(tmp_path), work)
    first = queue.submit(spec(model), owner="a", device="cpu")
    second = queue.submit(spec(model, seed=1), owner="b", device="cpu")
    assert [p.run_id for p in queue.mine("a")] == [first.run_id]
    waiting = queue.progress(second.run_id)
    assert (waiting.state, waiting.n_ahead) == ("queued", 1)
    assert second.status().state == "queued" and queue.n_others("a") == 1
    with pytest.raises(MechbenchError, match="You have no job"):
        queue.cancel(second.run_id, owner="a")
    with pytest.raises(StoreError, match="waiting or running"):
        delete_run(queue.store, second.run_id)
    work.go.set()
    assert ended(queue, second.run_id).state == "finished"
    assert [run_id for run_id, _ in work.batches] == [first.run_id] * 3 + [second.run_id] * 3


def test_a_cancelled_job_stops_within_one_batch_and_goes_on_when_asked(model, tmp_path):
    work = Held()
    queue = JobQueue(RunStore(tmp_path), work)
    run = queue.submit(spec(model), owner="a", device="cpu")
    while queue.progress(run.run_id).state == "queued":
        time.sleep(0.01)
    queue.cancel(run.run_id, owner="a")
    work.go.set()
    assert ended(queue, run.run_id).state == "interrupted"
    assert len(work.batches) <= 1 and run.status().state == "interrupted"
    resumed = queue.submit(spec(model), owner="a", device="cpu")
    assert resumed.run_id == run.run_id and ended(queue, run.run_id).state == "finished"


def test_a_job_that_two_wait_for_goes_on_for_the_other(model, tmp_path):
    work = Held()
    queue = JobQueue(RunStore(tmp_path), work)
    run = queue.submit(spec(model), owner="a", device="cpu")
    assert queue.submit(spec(model), owner="b", device="cpu").run_id == run.run_id
    queue.cancel(run.run_id, owner="a")
    assert not queue.progress(run.run_id).cancelling
    work.go.set()
    assert ended(queue, run.run_id).state == "finished"


def test_one_owner_has_a_few_jobs_and_a_failure_says_why(model, tmp_path):
    work = Held()
    queue = JobQueue(RunStore(tmp_path), work, most=1)
    queue.submit(spec(model), owner="a", device="cpu")
    with pytest.raises(MechbenchError, match="1 jobs waiting or running"):
        queue.submit(spec(model, seed=1), owner="a", device="cpu")
    work.go.set()
    failing = JobQueue(RunStore(tmp_path / "other"), carry_out)
    run = failing.submit(spec(tmp_path / "no-model"), owner="a", device="cpu")
    progress = ended(failing, run.run_id)
    assert progress.state == "failed" and "no model folder" in progress.error
    delete_run(failing.store, run.run_id)
    assert failing.store.list() == []


def test_only_a_full_id_is_deleted(model, tmp_path):
    store = RunStore(tmp_path)
    run = store.create({"name": "x"}, slug="x")
    run.set_status("finished")
    for name in (run.run_id[:12], "..", ""):
        with pytest.raises(StoreError):
            delete_run(store, name)
    assert run.path.is_dir()
