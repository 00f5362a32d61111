"""The commands on a small experiment, from running to exporting."""

import json
import re
import shlex
import sys
from subprocess import run as run_process

import pytest
import yaml

from mechbench.bench import sweep as bench_sweep
from mechbench.cli import main
from mechbench.cli.dashboard import check_login, is_loopback, streamlit_command
from mechbench.errors import SpecError
from tests.small_experiment import small_spec, write_tiny_model


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with one finished run, made by the command line."""
    folder = tmp_path_factory.mktemp("commands")
    spec = small_spec(write_tiny_model(folder / "tiny"))
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    with pytest.MonkeyPatch.context() as patch:
        words = ["mechbench", "run", str(folder / "spec.yaml"), "--out", str(folder / "runs")]
        patch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return folder / "runs"


def test_running_again_shows_the_run_that_is_there(mechbench, store):
    code, out, err = mechbench("run", store.parent / "spec.yaml", "--out", store)
    assert code == 0
    assert "Already run" in err and "--force" in err
    assert "status   finished" in out and "report.html" in out
    assert len(list(store.iterdir())) == 1


def test_settings_make_another_run(mechbench, store, tmp_path):
    spec = store.parent / "spec.yaml"
    words = ["--set", "task.n=5", "--set", "steps.head-sweep.params.control=false"]
    code, _, err = mechbench("run", spec, *words, "--device", "cpu", "--out", tmp_path)
    assert code == 0, err
    (folder,) = tmp_path.glob("*-small-*")
    kept = json.loads((folder / "spec.json").read_text())["spec"]
    assert kept["task"]["n"] == 5 and kept["device"] == "cpu"
    assert kept["steps"][1]["params"]["control"] is False


def test_progress_without_a_terminal_is_one_line_per_step(mechbench, store, tmp_path):
    _, out, err = mechbench("run", store.parent / "spec.yaml", "--out", tmp_path)
    lines = err.strip().splitlines()
    assert lines[0].startswith("Loading ")
    assert [re.sub(r"[\d.]+ s$", "_ s", line) for line in lines[1:]] == [
        "1/2 residual-sweep: _ s",
        "2/2 head-sweep: _ s",
    ]
    assert "\x1b" not in out + err


def test_runs_lists_and_show_shows(mechbench, store):
    code, out, _ = mechbench("runs", "--store", store)
    assert code == 0
    assert "small" in out and "finished" in out
    for name in ("small", next(store.iterdir())):
        code, out, _ = mechbench("show", name, "--store", store)
        assert code == 0 and "report.html" in out


def test_showing_a_run_needs_no_torch(store):
    check = (
        "import sys; sys.argv = ['mechbench', 'show', 'small', '--store', sys.argv[1]]\n"
        "from mechbench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print('LOADED', *({'torch', 'transformers', 'plotly', 'matplotlib'} & set(sys.modules)))"
    )
    done = run_process(
        [sys.executable, "-c", check, str(store)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "LOADED"


def test_no_runs_is_not_an_error(mechbench, tmp_path):
    code, out, err = mechbench("runs", "--store", tmp_path / "none")
    assert (code, out) == (0, "") and "no runs" in err


def test_export_draws_every_figure_in_every_format(mechbench, store, tmp_path):
    words = ["--format", "pdf,png", "--preset", "column", "--out", tmp_path / "paper"]
    code, out, _ = mechbench("export", "small", "--store", store, *words)
    assert code == 0
    made = {path.name for path in (tmp_path / "paper").iterdir()}
    for step in ("residual-sweep", "head-sweep"):
        assert {f"{step}.pdf", f"{step}.png"} <= made
    assert all(line.strip().startswith(str(tmp_path)) for line in out.strip().splitlines())


def test_an_interrupt_exits_with_130_and_says_how_to_go_on(mechbench, store, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mechbench.experiments.runner.measure_speed", interrupt)
    words = ["run", store.parent / "spec.yaml", "--set", "measure_speed=true", "--out", tmp_path]
    code, _, err = mechbench(*words)
    assert code == 130
    again = err.strip().splitlines()[-1]
    assert "Interrupted" in again and again.endswith("--resume")
    monkeypatch.undo()
    code, out, err = mechbench(*again.partition("mechbench ")[2].split())
    assert code == 0, err
    assert "Speed, measured in this run" in out and "kept from before" in err


def test_models_lists_bundled_and_hub_names(mechbench):
    code, out, _ = mechbench("models")
    assert code == 0
    assert "acronyms-gpt2" in out and "gpt2-medium" in out


def test_bench_writes_json(mechbench, tmp_path, monkeypatch):
    asked = {}

    def measure(**options):
        asked.update(options)
        options["say"]("measured")
        return {"ratio": 7.5}

    monkeypatch.setattr(bench_sweep, "run_sweep_bench", measure)
    out = tmp_path / "new" / "bench.json"
    code, _, err = mechbench("bench", "sweep", "--length", 16, "--prompts", 8, "--out", out)
    assert code == 0 and "measured" in err
    assert json.loads(out.read_text()) == {"ratio": 7.5}
    assert asked["lengths"] == (16,) and asked["n_prompts"] == 8
    assert mechbench("bench", "sweep", "--out", tmp_path)[0] == 2


def test_the_dashboard_is_for_this_machine_alone():
    command = streamlit_command(8600)
    for flag in (
        "--server.address=127.0.0.1",
        "--server.port=8600",
        "--server.headless=true",
        "--server.allowedHosts=localhost",
        "--server.allowedHosts=127.0.0.1",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    ):
        assert flag in command
    assert command[4].endswith("dashboard.py")


def test_a_public_dashboard_needs_a_login(tmp_path, monkeypatch):
    secrets = tmp_path / "secrets.toml"
    with pytest.raises(SpecError, match="no .*secrets.toml.*redirect_uri"):
        check_login(secrets, "0.0.0.0")
    secrets.write_text("[auth]\nredirect_uri = 'x'\n")
    with pytest.raises(SpecError, match="lacks cookie_secret"):
        check_login(secrets, "0.0.0.0")
    secrets.write_text("[auth\n")
    with pytest.raises(SpecError, match="cannot be read"):
        check_login(secrets, "0.0.0.0")
    assert [is_loopback(a) for a in ("127.0.0.1", "::1", "localhost", "0.0.0.0")] == [
        True,
        True,
        True,
        False,
    ]
    with pytest.raises(SpecError, match="no IP address"):
        is_loopback("example.org")


def test_the_dashboard_refuses_a_public_address(mechbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, output = mechbench("dashboard", "--address", "0.0.0.0")
    assert code == 2 and "must log in" in " ".join(output.split())


def test_discover_goes_on_where_it_was_interrupted(mechbench, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    name = "planted-induction"
    few = [f"steps.{step}.params.n_random=2" for step in ("choice", "circuit", "curve")]
    words = ["discover", name, name, "--n", 6, "--out", tmp_path / "runs"]
    words += [word for setting in few for word in ("--set", setting)]
    with monkeypatch.context() as patch:
        patch.setattr("mechbench.analyses.circuit_curve.check_sizes", interrupt)
        code, _, err = mechbench(*words)
    assert code == 130
    again = re.search(r"To go on: mechbench (.*)", err)
    assert again is not None and again[1].endswith("--resume")
    code, out, err = mechbench(*shlex.split(again[1]))
    assert code == 0, err
    assert "circuit: kept from before" in err and "curve: kept" not in err
    assert "Faithfulness" in out and "CPR" in out and "report.html" in out
