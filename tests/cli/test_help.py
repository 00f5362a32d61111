"""Help is fast, complete and loads nothing heavy."""

import subprocess
import sys
from time import perf_counter

import pytest

import mechbench

HEAVY = "torch transformers transformer_lens xarray matplotlib plotly streamlit pydantic"
COMMANDS = ["demo", "run", "models", "runs", "show", "export", "train", "bench", "dashboard"]


def test_help_answers_in_time_and_loads_nothing_heavy():
    check = (
        "import sys; sys.argv = ['mechbench', '--help']\n"
        "from mechbench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"print('LOADED', *(set('{HEAVY}'.split()) & set(sys.modules)))"
    )
    start = perf_counter()
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert perf_counter() - start < 1.5
    assert done.stdout.strip().splitlines()[-1] == "LOADED"
    for command in COMMANDS:
        assert f" {command} " in done.stdout


def test_python_dash_m_runs_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "mechbench", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"mechbench {mechbench.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(mechbench, command):
    code, out, _ = mechbench(command, "--help")
    assert code == 0
    assert f"Example: mechbench {command}" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "Did you mean 'train'"),
        (["show"], "Missing argument 'RUN'"),
        (["run", "acronyms", "--mdoel", "x"], "--mdoel"),
        (["bench", "speed"], "speed"),
        (["dashboard", "--port", "0"], "greater than"),
    ],
)
def test_a_usage_error_exits_with_2(mechbench, words, message):
    code, _, err = mechbench(*words)
    assert code == 2
    assert message in err and "Traceback" not in err
