"""The run store: runs are found again, resumed only by their own spec, and never lost."""

import errno
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from mechbench.errors import StoreError
from mechbench.results import files
from mechbench.results.base import Result
from mechbench.results.codec import content_hash
from mechbench.results.run import Run
from mechbench.results.store import RunStore
from tests.results.provenance import PROVENANCE

SPEC = {"model": "tiny", "task": {"name": "acronyms", "n": 64, "seed": 0}, "steps": ["heads"]}


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored(Result):
    effect: xr.DataArray


def _result(value: float = 1.0) -> Stored:
    return Stored(provenance=PROVENANCE, effect=xr.DataArray([value], dims="layer"))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.create(SPEC, slug="Acronyms: heads")


def test_a_run_is_a_folder_that_is_found_again(store, run):
    assert re.fullmatch(r"\d{8}-\d{6}-acronyms-heads-[0-9a-f]{8}", run.run_id)
    found = store.find(content_hash(SPEC))
    assert found == run and found.spec == SPEC
    assert store.find("0" * 64) is None
    assert store.open(run.run_id) == store.open(run.run_id[:20]) == run
    assert store.open(run.spec_hash[:8]) == run
    assert [s.run_id for s in store.list()] == [run.run_id]


def test_results_status_and_log_survive_reopening(store, run):
    run.log("started")
    run.save_result("heads", _result())
    run.save_result("bos.swap", _result(2.0))
    run.set_status("failed", error="out of memory")
    again = store.open(run.run_id)
    assert again.has("heads") and not again.has("residual")
    assert again.steps() == ["heads", "bos.swap"]
    assert again.load_result("bos.swap").identical(_result(2.0))
    status = again.status()
    assert (status.state, status.error, status.pid) == ("failed", "out of memory", os.getpid())
    assert status.wall_time_s == 2 * PROVENANCE.wall_time_s
    assert re.fullmatch(r"\S+ started\n", (again.path / "log.txt").read_text())


def test_saving_a_step_again_replaces_it_and_its_time(run):
    run.save_result("heads", _result())
    slower = replace(_result(3.0), provenance=replace(PROVENANCE, wall_time_s=9.0))
    run.save_result("heads", slower)
    assert run.load_result("heads").identical(slower)
    assert run.status().wall_time_s == 9.0


def test_partial_data_goes_when_its_step_is_saved(run):
    mine = run.checkpoint_path("heads").with_suffix(".npz")
    other = run.checkpoint_path("heads-all").with_suffix(".npz")
    for path in (mine, other):
        path.write_bytes(b"x")
    run.save_result("heads", _result())
    assert not mine.exists() and other.exists()


def test_a_hash_is_of_the_content_not_of_the_order_of_keys():
    turned = {k: SPEC[k] for k in reversed(SPEC)}
    assert content_hash(turned) == content_hash(SPEC)
    assert content_hash({**SPEC, "model": "other"}) != content_hash(SPEC)
    assert len(content_hash(SPEC)) == 64


def test_runs_in_the_same_second_have_folders_of_their_own(store):
    runs = [store.create(SPEC, slug="same") for _ in range(3)]
    assert len({r.run_id for r in runs}) == 3 == len(store.list())
    assert store.find(content_hash(SPEC)) is not None


def test_the_newest_run_of_a_spec_is_found(store, run):
    (run.path).rename(run.path.with_name("20200101-000000-old-" + run.spec_hash[:8]))
    newer = store.create(SPEC, slug="new")
    assert store.find(run.spec_hash) == newer
    assert [s.run_id for s in store.list()][0] == newer.run_id


def test_unknown_and_ambiguous_names_list_the_runs(store, run):
    with pytest.raises(StoreError, match=re.escape(run.run_id)):
        store.open(run.run_id[:-1] + "x")
    store.create({**SPEC, "model": "b"}, slug="other")
    with pytest.raises(StoreError, match="fits 2 runs.*Give more"):
        store.open(run.run_id[:4])
    with pytest.raises(StoreError, match="no runs in"):
        RunStore(store.root / "absent").open("x")
    with pytest.raises(StoreError, match="No run ''"):
        store.open("")


def test_a_missing_step_names_those_there_are(run):
    with pytest.raises(StoreError, match="no result 'heads'. It has none yet"):
        run.load_result("heads")
    run.save_result("heads", _result())
    with pytest.raises(StoreError, match="no result 'haeds'. Did you mean 'heads'"):
        run.load_result("haeds")


@pytest.mark.parametrize("step", ["", "../up", "a/b", ".hidden", "a b"])
def test_step_names_cannot_leave_the_folder(run, step):
    with pytest.raises(StoreError, match="cannot name a step"):
        run.save_result(step, _result())


def test_resuming_needs_the_same_spec_and_names_what_differs(store, run):
    run.set_status("interrupted")
    assert store.resume(run.path, SPEC, spec_hash=content_hash(SPEC)) == run
    assert run.status().state == "running"
    other = {"model": "tiny", "task": {"name": "acronyms", "n": 32}, "device": "cpu"}
    with pytest.raises(StoreError) as caught:
        store.resume(run.path, other, spec_hash=content_hash(other))
    for part in ("written by another spec", "task.n (there 64, given 32)", "device", "task.seed"):
        assert part in str(caught.value)
    assert "model" not in str(caught.value)


def test_resuming_what_is_not_a_run_is_a_store_error(store, tmp_path):
    with pytest.raises(StoreError, match="no run at"):
        store.resume(tmp_path, SPEC, spec_hash=content_hash(SPEC))


def test_damaged_and_newer_files_are_named_and_do_not_hide_other_runs(store, run):
    bad = store.create({**SPEC, "model": "b"}, slug="bad")
    (bad.path / "status.json").write_text("{")
    with pytest.raises(StoreError, match="status.json.*damaged"):
        bad.status()
    assert [s.run_id for s in store.list()] == [run.run_id]
    (bad.path / "status.json").write_text(json.dumps({"schema": 9}))
    with pytest.raises(StoreError, match="newer"):
        bad.status()
    (bad.path / "spec.json").write_text("[]")
    with pytest.raises(StoreError, match="spec.json.*damaged"):
        store.open(bad.run_id)


def test_folders_that_are_not_runs_are_left_alone(store, run):
    (store.root / "notes").mkdir()
    (store.root / "20260101-000000-x-12345678").write_text("a file")
    assert [s.run_id for s in store.list()] == [run.run_id]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission"),
        (errno.EROFS, "read-only"),
    ],
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failed_write_says_what_to_do_and_loses_nothing(run, monkeypatch, code, advice, call):
    run.save_result("heads", _result())
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, call, fail)
    for attempt in (
        lambda: run.save_result("heads", _result(2.0)),
        lambda: run.save_result("new", _result(2.0)),
        lambda: run.set_status("finished"),
    ):
        with pytest.raises(StoreError, match=f"{advice}.*already written are complete"):
            attempt()
    monkeypatch.undo()
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    assert run.load_result("heads").identical(_result()) and not run.has("new")


def test_a_really_full_device_is_a_store_error(run):
    log = run.path / "log.txt"
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    log.symlink_to("/dev/full")
    with pytest.raises(StoreError, match="disk is full"):
        run.log("x")


def test_an_output_folder_that_is_a_file_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(StoreError, match="choose another output folder"):
            RunStore(root).create(SPEC, slug="x")
    with pytest.raises(StoreError, match="choose another output folder"):
        RunStore(tmp_path / "file").list()


def test_a_folder_that_cannot_be_created_is_a_store_error(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StoreError, match="read-only"):
        RunStore(tmp_path / "runs").create(SPEC, slug="x")


def test_a_spec_with_odd_values_comes_back_as_it_was(store):
    odd = {"a": (1, 2.5, float("inf")), "b": {"$x": None}, "c": np.float64(0.5), "d": "é\n"}
    run = store.open(store.create(odd, slug="äöü").run_id)
    assert run.spec == {**odd, "c": 0.5} and run.spec_hash == content_hash(odd)


def test_opening_results_and_the_store_loads_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, mechbench.results.store, mechbench.results.statistics\n"
        "print([n for n in ('torch', 'matplotlib', 'mechbench.models') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
