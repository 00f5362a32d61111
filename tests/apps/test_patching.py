"""A sweep from the button to the close look at a cell."""

import time
from importlib import import_module
from threading import Event

import pytest

from apps.common.catalogue import CORRUPTIONS, GENERATED
from apps.common.text import plain
from mechbench.figures.joint_patch import joint_patch_figure
from mechbench.figures.patched_cell import patched_cell_figure
from mechbench.results.patch_sweep import PatchSweep
from mechbench.results.store import RunStore


@pytest.fixture(scope="module")
def swept(tmp_path_factory, tiny):
    """The folder of a store with a finished sweep on the tiny model, and its id."""
    from apps.common.specs import one_step
    from mechbench.experiments.runner import run_experiment

    store = RunStore(tmp_path_factory.mktemp("patching") / "runs")
    task = {"name": "acronyms", "n": 3, "seed": 0}
    spec = one_step("patching", "A sweep", str(tiny), task, "patch_sweep", site="z")
    return store.root, run_experiment(spec, store).run_id


def test_the_page_before_anything_is_run(page, tmp_path):
    shown = page(tmp_path, "patching")
    assert not shown.exception and not shown.error and not shown.warning
    assert "patch_sweep(" in shown.code[0].value


def test_a_sweep_from_the_button_to_the_map(page, tiny, tmp_path):
    shown = page(tmp_path, "patching", model=tiny, n=2)
    shown.button[0].click().run()
    assert not shown.exception and not shown.error
    run_id = shown.query_params["run"]
    for _ in range(1200):  # its process starts first
        status = RunStore(tmp_path).open(run_id).status()
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.1)
    shown.run()
    assert not shown.exception and not shown.error and status.state == "finished"
    result = RunStore(tmp_path).open(run_id).load_result("patch-sweep")
    assert isinstance(result, PatchSweep) and result.provenance.n_prompts == 2
    assert any("Click a cell" in c.value for c in shown.caption)


def test_a_link_restores_the_cell(page, swept):
    root, run_id = swept
    shown = page(root, "patching", run=run_id, layer=1, place=0, alayer=0, cells="0.1,1.0")
    assert not shown.exception and not shown.error and not shown.warning
    (call,) = [c.value for c in shown.code if "patched_cell(" in c.value and "import" in c.value]
    assert "layer=1" in call and "attention_layer=0" in call and "attention_head=0" in call
    assert any("Collected: 0.1, 1.0" in plain_text(m.value) for m in shown.markdown)


def plain_text(markdown):
    return markdown.replace("\\", "")


def test_a_click_is_kept_in_the_address(page, swept):
    root, run_id = swept
    shown = page(root, "patching", run=run_id)
    assert not [c for c in shown.code if "patched_cell(" in c.value]
    shown.query_params["layer"], shown.query_params["place"] = "0", "1"
    shown.run()
    assert [c for c in shown.code if "patched_cell(" in c.value and "head=1" in c.value]


def test_the_chosen_cell_tells_its_intervals(page, swept):
    root, run_id = swept
    shown = page(root, "patching", run=run_id, layer=1, place=1, scale="control")
    result = RunStore(root).open(run_id).load_result("patch-sweep")
    line = next(plain_text(m.value) for m in shown.markdown if "change" in m.value)
    for name, values in (("change", result.summary), ("control", result.control)):
        mean, low, high = values[:, 1, 1].values
        assert f"{name} {mean:+.3f} [{low:+.3f}, {high:+.3f}]" in line
    assert any("Metric:" in plain_text(c.value) for c in shown.caption)


def test_collected_cells_are_patched_together(page, swept):
    root, run_id = swept
    shown = page(root, "patching", run=run_id, cells="0.1,1.0", together=1)
    assert not shown.exception and not shown.error and not shown.warning
    assert any("2 cells of z together" in s.value for s in shown.subheader)
    (script,) = [c.value for c in shown.code if "joint_patch(" in c.value and "import" in c.value]
    names: dict = {}
    exec(script, names)
    figure = joint_patch_figure(names["joint_patch_result"])
    assert any(plain(figure.caption) == c.value for c in shown.caption)
    one = page(root, "patching", run=run_id, cells="0.1", together=1)
    assert any("another cell" in c.value for c in one.caption)


def test_the_controls_make_the_sweep(page, tmp_path):
    asked = {"corruption": "all", "position": "10", "control": "0", "direction": "denoise"}
    shown = page(tmp_path, "patching", **asked)
    assert not shown.exception and not shown.error and not shown.warning
    script = shown.code[0].value
    for part in ('corruption="all"', "position=10", "control=False", 'direction="denoise"'):
        assert part in script.replace("'", '"')
    shown.selectbox(key="url-task").select("ioi").run()
    assert not shown.exception and not shown.error and not shown.warning
    assert shown.query_params["corruption"] in ("usual", ["usual"])
    stream = page(tmp_path, "patching", site="resid_pre", position="10")
    assert "position" not in stream.code[0].value


def test_a_span_that_is_not_there_is_told(page, swept):
    root, run_id = swept
    shown = page(root, "patching", run=run_id, layer=1, place=0, ahead=99)
    assert not shown.exception and "attention_head=99" in plain_text(shown.error[0].value)


def test_corruptions_are_those_of_the_tasks():
    modules = {
        "acronyms": "acronym_task",
        "multiple_choice": "choice_task",
        "pairs": "pairs_file",
    }
    assert set(CORRUPTIONS) == {*GENERATED, "pairs"}
    for task, names in CORRUPTIONS.items():
        module = import_module(f"mechbench.tasks.{modules.get(task, task)}")
        assert names == module.CORRUPTIONS


@pytest.mark.parametrize(
    "bad",
    [
        {"layer": "999", "place": "abc"},
        {"site": "nose"},
        {"n": "-1"},
        {"run": "../.."},
        {"cells": "9.9"},
        {"cells": "<b>"},
        {"prompt": "3"},
        {"scale": "size"},
        {"control": "yes"},
        {"corruption": "none"},
        {"alayer": "2"},
        {"position": "x" * 21},
    ],
)
def test_bad_parameters_are_told_and_replaced(page, swept, bad):
    root, run_id = swept
    cell = {"layer": 1, "place": 0}
    shown = page(root, "patching", **{"run": run_id, **cell, **bad})
    assert not shown.exception and not shown.error
    assert len(shown.warning) == len(bad)


def test_a_run_of_something_else_is_not_a_sweep(page, stored):
    shown = page(stored[0].path.parent, "patching", run=stored[0].run_id)
    assert not shown.exception and "no patch-sweep" in shown.warning[0].value.replace("\\", "")


def test_a_running_job_is_followed_and_cancelled(page, tiny, tmp_path, monkeypatch):
    """With work that waits between its two batches."""
    go = Event()

    def work(spec, run, observer):
        try:
            observer.step_started("patch-sweep", 1, 1)
            observer.step_advanced("patch-sweep", 0, 2)
            observer.step_advanced("patch-sweep", 1, 2)
            go.wait(20)
            observer.step_advanced("patch-sweep", 2, 2)
        except KeyboardInterrupt:
            run.set_status("interrupted")
            raise

    monkeypatch.setattr("apps.common.session._carry_out", work)
    shown = page(tmp_path, "patching", model=tiny, n=2)
    shown.button[0].click().run()
    run_id = shown.query_params["run"]
    assert not shown.exception and not shown.error
    time.sleep(0.2)
    shown.run()
    cancel = shown.button(key=f"cancel-{run_id}")
    assert not cancel.disabled
    cancel.click().run()
    go.set()
    store = RunStore(tmp_path)
    for _ in range(50):
        if store.open(run_id).status().state == "interrupted":
            break
        time.sleep(0.1)
    shown.run()
    assert not shown.exception and not shown.error
    assert "can go on" in shown.info[0].value
    assert shown.button(key=f"resume-{run_id}").label == "Go on"


def test_the_copied_script_of_a_cell_gives_what_the_page_shows(page, swept):
    root, run_id = swept
    shown = page(root, "patching", run=run_id, layer=1, place=1)
    (script,) = [c.value for c in shown.code if "patched_cell(" in c.value and "import" in c.value]
    names: dict = {}
    exec(script, names)
    figure = patched_cell_figure(names["patched_cell_result"])
    assert any(plain(figure.caption) == c.value for c in shown.caption)
