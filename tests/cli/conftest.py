"""The command line run in this process, and specs for it."""

import pytest
import yaml

from mechbench.cli import main
from tests.small_experiment import small_spec, write_tiny_model


@pytest.fixture
def mechbench(capsys, monkeypatch):
    """``mechbench("runs", "--store", path)`` -> (exit code, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["mechbench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def refused(mechbench):
    """Runs a command that must fail as bad input does, and gives its one paragraph."""

    def call(*words):
        code, _, err = mechbench(*words)
        assert code == 2, err
        assert "Traceback" not in err
        last = err.strip().splitlines()[-1]
        assert last.startswith("Error: ")
        return last

    return call


@pytest.fixture
def tiny_folder(tmp_path):
    return write_tiny_model(tmp_path / "tiny-model")


@pytest.fixture
def write_spec(tmp_path, tiny_folder):
    """Writes the small spec with some changes, and gives its path."""

    def write(**changes):
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(small_spec(tiny_folder, **changes)))
        return path

    return write
