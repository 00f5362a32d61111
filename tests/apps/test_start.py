"""The first page: a finished example, before any model is loaded."""

import os
import subprocess
import sys

from mechbench.figures.spec import FigureSpec
from tests.apps.conftest import APP
from tests.figures.style import check_caption, check_stored


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
