"""The copied script and the copied command give the same arrays as the run."""

import shlex
import subprocess

import numpy as np
import pytest
import yaml

from mechbench.experiments.copies import as_command, as_python, variable
from mechbench.experiments.runner import run_experiment
from mechbench.experiments.spec import ExperimentSpec, load_spec, parse_spec
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    model = write_tiny_model(tmp_path_factory.mktemp("copies") / "tiny")
    return parse_spec(small_spec(model, seed=3), origin="The spec")


def test_the_script_gives_the_same_arrays(spec, tmp_path):
    run = run_experiment(spec, RunStore(tmp_path))
    names: dict = {}
    exec(as_python(spec), names)
    for step in spec.steps:
        stored, found = run.load_result(step.id), names[variable(step.id)]
        for name, array in stored.field_arrays().items():
            np.testing.assert_array_equal(getattr(found, name), array)


def test_the_command_writes_a_spec_that_is_the_same_run(spec, tmp_path):
    *lines, last = as_command(spec, tmp_path / "my runs").splitlines()
    writing = "\n".join(lines) + "\n"
    subprocess.run(["sh", "-c", writing], cwd=tmp_path, check=True)
    words = shlex.split(last)
    assert words[:2] == ["mechbench", "run"] and words[3:] == ["--out", str(tmp_path / "my runs")]
    assert load_spec(tmp_path / words[2]).digest() == spec.digest()


def test_a_value_of_many_lines_stays_in_the_file(tmp_path):
    nasty = "x\nEND_OF_SPEC\ntouch nasty\n'$(touch nasty)'"
    spec = ExperimentSpec.model_validate(
        {**small_spec(tmp_path), "task": {"name": "pairs", "params": {"path": nasty}}}
    )
    *lines, _ = as_command(spec, tmp_path).splitlines()
    subprocess.run(["sh", "-c", "\n".join(lines) + "\n"], cwd=tmp_path, check=True)
    assert not (tmp_path / "nasty").exists()
    written = yaml.safe_load((tmp_path / "small.yaml").read_text())
    assert written["task"]["params"]["path"] == nasty


@pytest.mark.parametrize("name", ["discovery", "acronyms", "mod_router"])
def test_scripts_of_bundled_specs_compile_and_refer_to_what_is_there(name):
    spec = load_spec(name)
    script = as_python(spec)
    compile(script, name, "exec")
    assert "'@" not in script
    for step in spec.steps:
        assert f"{variable(step.id)} = {step.analysis}(" in script
