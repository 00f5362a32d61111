"""Jobs in a process of their own: cancelled, killed, resumed, released."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from psutil import pid_exists

from mechbench.errors import WorkerError
from mechbench.experiments.job import Job
from mechbench.experiments.jobs import JobQueue
from mechbench.experiments.runner import load_part, run_experiment
from mechbench.experiments.spec import parse_spec
from mechbench.experiments.workers import COMMAND, Workers
from mechbench.results.run import open_run
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model

LONG = [{"analysis": "patch_sweep", "params": {"site": "resid_pre"}}]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("workers") / "tiny")


@pytest.fixture(scope="module")
def workers():
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
def queue(workers, tmp_path):
    return JobQueue(RunStore(tmp_path), workers.carry_out)


def spec(model, **changes):
    return parse_spec(small_spec(model, **changes), origin="The spec")


def long_spec(model, **changes):
    return spec(model, task={"name": "acronyms", "n": 256}, steps=LONG, **changes)


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def ended(queue, run):
    wait_until(lambda: queue.progress(run.run_id).over)
    return queue.progress(run.run_id)


def under_way(queue, run):
    wait_until(lambda: queue.progress(run.run_id).done > 0)
    return open_run(run.path).status().pid


def test_a_run_of_a_worker_is_the_run_of_this_process(model, queue, workers, tmp_path):
    run = queue.submit(spec(model), owner="a", device="cpu")
    progress = ended(queue, run)
    assert (progress.state, progress.error) == ("finished", None)
    assert progress.done == progress.total > 0 and progress.number == progress.of == 2
    here = run_experiment(spec(model), RunStore(tmp_path / "here"))
    assert run.steps() == here.steps()
    for step in here.steps():
        found, wanted = (one.load_result(step).field_arrays() for one in (run, here))
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name].values, array.values)
    ((line, busy),) = workers.models()
    loaded = load_part(spec(model).model, "cpu")
    tensors = [*loaded.parameters(), *loaded.buffers()]
    assert line.nbytes == sum(t.nbytes for t in tensors) and line.device == "cpu" and not busy
    assert run.status().pid != os.getpid()


def test_the_worker_and_its_model_are_kept_from_job_to_job(model, queue):
    runs = [queue.submit(spec(model, seed=seed), owner="a", device="cpu") for seed in (1, 2)]
    for run in runs:
        assert ended(queue, run).state == "finished"
    assert len({run.status().pid for run in runs}) == 1


def test_a_cancelled_job_goes_on_where_it_stopped(model, queue):
    run = queue.submit(long_spec(model, seed=3), owner="a", device="cpu")
    pid = under_way(queue, run)
    queue.cancel(run.run_id, owner="a")
    progress = ended(queue, run)
    assert progress.state == "interrupted" and progress.done < progress.total
    assert run.status().state == "interrupted" and pid_exists(pid)
    again = queue.submit(long_spec(model, seed=3), owner="a", device="cpu")
    assert again.run_id == run.run_id and ended(queue, run).state == "finished"


def test_a_killed_worker_fails_its_job_in_words_and_the_next_one_has_another(model, queue):
    run = queue.submit(long_spec(model, seed=4), owner="a", device="cpu")
    pid = under_way(queue, run)
    os.kill(pid, signal.SIGKILL)
    progress = ended(queue, run)
    assert progress.state == "failed" and "killed by signal 9" in progress.error
    assert run.status().state == "failed" and "memory" in run.status().error
    again = queue.submit(long_spec(model, seed=4), owner="a", device="cpu")
    assert again.run_id == run.run_id and ended(queue, run).state == "finished"
    assert run.status().pid not in (pid, os.getpid())


def test_errors_of_a_run_come_in_their_own_words(queue, tmp_path):
    run = queue.submit(spec(tmp_path / "none"), owner="a", device="cpu")
    progress = ended(queue, run)
    assert progress.state == "failed" and "no model folder" in progress.error
    assert run.status().state == "failed"


def test_a_worker_at_work_is_not_released_and_an_idle_one_ends(model, workers, queue):
    run = queue.submit(long_spec(model, seed=5), owner="a", device="cpu")
    pid = under_way(queue, run)
    assert not workers.release("cpu") and [busy for _, busy in workers.models()] == [True]
    assert ended(queue, run).state == "finished"
    wait_until(lambda: workers.release("cpu"))
    assert workers.models() == [] and not pid_exists(pid)


def test_a_worker_ends_with_its_parent_and_leaves_a_run_to_resume(model, tmp_path):
    store = RunStore(tmp_path)
    given = long_spec(model, seed=6)
    run = store.create(given.canonical(), spec_hash=given.digest(), slug="long")
    parent = (
        "import json, os, subprocess, sys, time\n"
        f"worker = subprocess.Popen({list(COMMAND)!r}, stdin=subprocess.PIPE,\n"
        "    stdout=subprocess.PIPE, text=True, start_new_session=True)\n"
        f"print(json.dumps({{'run': {str(run.path)!r}}}), file=worker.stdin, flush=True)\n"
        "while 'step_advanced' not in worker.stdout.readline(): pass\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)  # Ctrl-C
    wait_until(lambda: not pid_exists(pid))
    assert run.status().state == "interrupted"
    resumed = run_experiment(given, store, resume=True)
    assert resumed.run_id == run.run_id and resumed.status().state == "finished"


def test_a_process_that_cannot_start_is_told(model, tmp_path):
    workers = Workers(command=[str(tmp_path / "nothing")])
    queue = JobQueue(RunStore(tmp_path / "runs"), workers.carry_out)
    run = queue.submit(spec(model), owner="a", device="cpu")
    progress = ended(queue, run)
    assert progress.state == "failed" and "No process could be started" in progress.error
    assert run.status().state == "failed"


def test_what_is_printed_on_the_way_does_not_mix_with_the_answers(model, tmp_path):
    given = spec(model)
    run = RunStore(tmp_path).create(given.canonical(), spec_hash=given.digest(), slug="printing")
    noisy = (
        "from mechbench.experiments import worker\n"
        "load = worker._load\n"
        "worker._load = lambda part, device: (print('noise'), load(part, device))[1]\n"
        "worker.main()\n"
    )
    workers = Workers(command=[sys.executable, "-c", noisy])
    job = Job(spec=given, run=run, device="cpu", owners={"a"})
    try:
        workers.carry_out(given, run, job)
    finally:
        workers.close()
    assert run.status().state == "finished"


def test_a_worker_that_ends_by_itself_is_an_error(model, tmp_path):
    given = spec(model)
    run = RunStore(tmp_path).create(given.canonical(), spec_hash=given.digest(), slug="ending")
    workers = Workers(command=[sys.executable, "-c", "raise SystemExit(3)"])
    job = Job(spec=given, run=run, device="cpu", owners={"a"})
    with pytest.raises(WorkerError, match="ended with code 3"):
        workers.carry_out(given, run, job)
    workers.close()
