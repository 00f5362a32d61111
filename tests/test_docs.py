"""The README names what there is, and every command shows an example."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mechbench.analyses.registry import ANALYSES
from mechbench.cli.app import app
from mechbench.models.registry import VARIANTS

README = Path(__file__).parents[1] / "README.md"
COMMANDS = [command.name for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_has_an_example(command):
    assert f"mechbench {command}" in README.read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, [command, "--help"]).output
    assert re.search(rf"Example: mechbench {command}\b", shown)


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_every_analysis_is_in_the_readme(name):
    assert f"`{name}`" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [spec.name for spec in VARIANTS])
def test_every_variant_is_in_the_readme(name):
    assert f"`{name}`" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["demo", "test", "lint", "dashboard"])
def test_every_make_target_is_in_the_readme(target):
    assert f"make {target}" in README.read_text(encoding="utf-8")


def test_the_script_in_the_readme_runs_and_saves_a_pdf(tmp_path):
    script = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    lines = [line for line in script[1].splitlines() if line.strip()]
    assert len(lines) <= 20
    root = {"PYTHONPATH": str(README.parent), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", script[1]], cwd=tmp_path, env={**os.environ, **root}, check=True
    )
    assert list(tmp_path.rglob("*.pdf"))


def test_every_picture_of_the_readme_is_there():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).is_file(), path
