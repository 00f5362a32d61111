"""The README names what there is, and every command shows an example."""

import os
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mechbench.analyses.registry import ANALYSES
from mechbench.cli.app import app
from mechbench.models.bundled import bundled_models, models_folder, read_model_folder
from mechbench.models.loading import load_model
from mechbench.models.registry import VARIANTS
from mechbench.results.base import Result
from mechbench.tasks.acronyms import acronyms
from mechbench.tasks.induction import induction
from mechbench.tasks.multiple_choice import multiple_choice
from mechbench.tasks.two_hop_generated import two_hop

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


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: spec.name)
def test_every_variant_has_a_row_in_the_readme_with_what_it_offers(spec):
    text = README.read_text(encoding="utf-8")
    section = text.split("\n## Architectures\n")[1].split("\n## ")[0]
    row = re.search(rf"^\| `{spec.name}` \|.*\|$", section, re.MULTILINE)
    assert row is not None, f"no row for {spec.name} in the table of architectures"
    _, _, title, blocks, forms, inspections, shipped, _ = map(str.strip, row[0].split("|"))
    assert spec.title in title and blocks and forms
    for number in re.findall(r"arXiv [\d.]+", spec.paper):
        assert number in title
    assert set(re.findall(r"`(\w+)`", inspections)) == set(spec.inspections)
    for path in re.findall(r"\]\(([^)]+)\)", shipped):
        assert (README.parent / path).is_file(), path
    for model in bundled_models():
        folder = models_folder() / model.name
        if read_model_folder(folder).spec is spec:
            assert f"[`{model.name}`](data/models/{model.name}/card.md)" in shipped


@pytest.mark.parametrize("target", ["demo", "test", "lint", "dashboard"])
def test_every_make_target_is_in_the_readme(target):
    assert f"make {target}" in README.read_text(encoding="utf-8")


SCRIPTS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("index", "saved"), [(0, "*.pdf"), (1, "circuit.json")])
def test_the_scripts_in_the_readme_run_and_save_what_they_say(tmp_path, index, saved):
    script = SCRIPTS[index]
    assert len([line for line in script.splitlines() if line.strip()]) <= 20
    root = {"PYTHONPATH": str(README.parent), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, **root}, check=True
    )
    assert list(tmp_path.rglob(saved))


def test_every_script_in_the_readme_is_run():
    assert len(SCRIPTS) == 2


def test_every_picture_of_the_readme_is_there():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).is_file(), path


@pytest.fixture(scope="module")
def subject():
    """A function that gives a bundled model with prompts."""

    @cache
    def load(name):
        model = load_model(name)
        if name == "twohop":
            return model, two_hop(model.tokenizer, 16, kinds=("id_test", "ood_id"))
        if name.startswith("mcq-"):
            return model, multiple_choice(
                model.tokenizer, n=32, families=["greater_than", "alphabet"]
            )
        make = acronyms if name == "acronyms-gpt2" else induction
        return model, make(model.tokenizer, n=16, seed=0)

    return load


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_the_example_of_every_analysis_runs(name, subject):
    """On the model that its row names, where it is about one architecture."""
    text = README.read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}` \| [^|]* \|(?: `([\w-]+)` \|)? `([^`]*)` \|$", text, re.M)
    assert row is not None
    model, task = subject(row[1] or "acronyms-gpt2")
    function = getattr(import_module(ANALYSES[name]), name)
    result = eval(row[2], {"model": model, "task": task, name: function})
    assert isinstance(result, Result)
