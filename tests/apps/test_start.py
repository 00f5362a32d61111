"""The first page: a finished example, before any model is loaded."""

import os
import subprocess
import sys
import time
from threading import Event

import pytest

from apps.common.session import workers
from mechbench.figures.spec import FigureSpec
from mechbench.results.store import RunStore
from tests.apps.conftest import APP
from tests.figures.style import check_caption, check_stored


@pytest.fixture(autouse=True)
def no_worker():
    """Jobs of other tests leave their worker, whose model the page would show."""
    workers().close()


def test_the_example_is_there_and_runs_are_linked(page, stored):
    shown = page(stored[0].path.parent)
    assert not shown.exception and not shown.error
    assert shown.title[0].value == "mechbench"
    captions = [c.value for c in shown.caption]
    assert "acronyms" in captions[0] and any("None yet" in c for c in captions)


def test_the_example_is_a_figure_like_all_others():
    path = APP.parent / "examples" / "example.figure.json"
    figure = FigureSpec.from_json(path.read_text(encoding="utf-8"))
    check_caption(figure)
    check_stored(figure)


def test_an_empty_folder_says_what_to_do(page, tmp_path):
    shown = page(tmp_path / "none")
    assert not shown.exception and not shown.error
    assert any("mechbench run acronyms" in c.value for c in shown.caption)


def test_the_first_page_loads_no_torch(tmp_path):
    """In a process of its own, because the tests have loaded it long ago."""
    check = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"shown = AppTest.from_file({str(APP)!r}, default_timeout=30).run()\n"
        "assert not shown.exception and not shown.error\n"
        "print(*sorted({'torch', 'transformers', 'transformer_lens'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "MECHBENCH_STORE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(APP.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_loaded_models_are_shown_and_released(page, stored, tiny):
    root = stored[0].path.parent
    shown = page(root, "prompts", model=tiny, n=2)
    assert not shown.exception and not shown.error
    shown.switch_page("views/start.py").run()
    (button,) = [b for b in shown.button if b.label == "Release"]
    line = next(m.value for m in shown.markdown if "for answers" in m.value)
    assert "MB" in line and "float32" in line
    button.click().run()
    assert not shown.exception and not shown.error
    assert not [b for b in shown.button if b.label == "Release"]


def test_jobs_are_listed_with_a_button_that_cancels(page, tiny, tmp_path, monkeypatch):
    go = Event()

    def work(spec, run, job):
        job.step_started("patch-sweep", 1, 1)
        go.wait(20)
        try:
            job.step_advanced("patch-sweep", 1, 2)
        except KeyboardInterrupt:
            run.set_status("interrupted")
            raise

    monkeypatch.setattr("apps.common.session._carry_out", work)
    shown = page(tmp_path, "patching", model=tiny, n=2)
    shown.button[0].click().run()
    run_id = shown.query_params["run"]
    shown.switch_page("views/start.py").run()
    assert not shown.exception and not shown.error
    shown.button(key=f"cancel-{run_id}").click().run()
    go.set()
    for _ in range(100):
        if RunStore(tmp_path).open(run_id).status().state == "interrupted":
            break
        time.sleep(0.1)
    shown.run()
    assert not shown.exception and not [b for b in shown.button if b.label == "Cancel"]
