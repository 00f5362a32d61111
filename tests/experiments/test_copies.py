"""The copied script and the copied command give the same arrays as the run."""

import ast
import inspect
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import mechbench
from mechbench.experiments.copies import as_command, as_python, variable
from mechbench.experiments.runner import run_experiment
from mechbench.experiments.spec import (
    ExperimentSpec,
    StepPart,
    bundled_specs,
    load_spec,
    parse_spec,
)
from mechbench.experiments.steps import checked_steps
from mechbench.results.run import open_run
from mechbench.results.store import RunStore
from mechbench.tasks.typed_pairs import keep_pairs, typed_pairs
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
        same_arrays(run.load_result(step.id), names[variable(step.id)])


def same_arrays(stored, found):
    arrays = stored.field_arrays()
    assert arrays
    for name, array in arrays.items():
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


@pytest.mark.parametrize("name", bundled_specs())
def test_every_call_in_the_scripts_of_bundled_specs_is_the_step(name):
    """Each step calls its analysis with its parameters, on the prompts that the step works on."""
    spec, calls, options = load_spec(name), {}, {}
    for line in ast.parse(as_python(spec)).body:
        if not isinstance(line, ast.Assign) or not isinstance(line.value, ast.Call):
            continue
        given = {k.arg: k.value for k in line.value.keywords}
        if ast.unparse(line.targets[0]) == "task":
            options = {name: ast.literal_eval(value) for name, value in given.items()}
        calls[ast.unparse(line.targets[0])] = (ast.unparse(line.value.func), given, options)
    for step in checked_steps(spec):
        function, given, made_of = calls[variable(step.id)]
        assert function == step.part.analysis
        assert made_of == step.part.task_options(spec.task)
        inspect.signature(step.function).bind("model", "task", **given)
        assert ast.literal_eval(given.pop("seed")) == spec.seed
        assert list(given) == list(step.params)
        for key, value in step.part.params.items():
            if isinstance(value, str) and value.startswith("@"):
                target, _, field = value[1:].partition(".")
                assert ast.unparse(given[key]) == ".".join(filter(None, [variable(target), field]))
            else:
                assert ast.literal_eval(given[key]) == value


def _small(name, *overrides):
    return load_spec(name, overrides=(*overrides, "measure_speed=false"))


def _circuit():
    """Two lists of scores and how far they agree: references to whole results."""
    spec = load_spec("discovery", overrides=("task.n=4", "steps.scores.params.steps=1"))
    steps = {step.id: step for step in spec.steps}
    other = steps["scores"].model_copy(update={"id": "exact", "params": {"method": "eap"}})
    return spec.model_copy(update={"steps": (steps["scores"], other, steps["exact-agreement"])})


def _fields():
    """Neurons found by one step and edited by another: a reference to a field."""
    spec = load_spec("mcq_anchored", overrides=("task.n=8",))
    steps = {step.id: step for step in spec.steps}
    wanted = (steps["value-vectors"], steps["value-vector-update"])
    return spec.model_copy(update={"steps": wanted})


def _typed(folder):
    path = keep_pairs(typed_pairs("The L\nThe M", "The M\nThe L", " L\n M", " M\n L"), folder)
    return parse_spec(
        {
            "name": "typed",
            "model": {"name": "acronyms-gpt2", "snapshot": 0},
            "task": {"name": "pairs", "params": {"path": str(path), "length": "refuse"}},
            "steps": [{"analysis": "pair_logits"}],
            "device": "cpu",
        },
        origin="The spec",
    )


SPECS = {
    "references": lambda folder: _circuit(),
    "fields": lambda folder: _fields(),
    "typed pairs, a snapshot, a device": _typed,
    "routers": lambda folder: _small("mod_router", "task.n=4"),
    "rings": lambda folder: _small("mlp_rings", "task.n=4", "steps.longer-repeats.n=4"),
}


@pytest.mark.parametrize("make", SPECS.values(), ids=SPECS)
def test_scripts_give_the_arrays_of_the_run(make, tmp_path):
    spec = make(tmp_path)
    run = run_experiment(spec, RunStore(tmp_path / "runs"))
    names: dict = {}
    exec(as_python(spec), names)
    for step in spec.steps:
        same_arrays(run.load_result(step.id), names[variable(step.id)])


def test_a_step_that_the_run_leaves_out_is_not_in_the_script(spec):
    steps = (*spec.steps, StepPart(analysis="circuit_formation", needs="snapshots"))
    script = as_python(spec.model_copy(update={"steps": steps}))
    assert "circuit_formation" not in script
    assert "circuit_formation(" in as_python(load_spec("acronyms"))


def test_the_command_makes_an_equal_run(spec, tmp_path):
    """In a shell, with the command that the tests' Python has."""
    program = tmp_path / "bin" / "mechbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mechbench "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(mechbench.__file__).parents[1]),
    }
    text = as_command(spec, tmp_path / "my runs")
    done = subprocess.run(
        ["sh", "-e", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (summary,) = RunStore(tmp_path / "my runs").list()
    here = run_experiment(spec, RunStore(tmp_path / "here"))
    assert summary.spec_hash == here.spec_hash == spec.digest()
    for step in spec.steps:
        same_arrays(here.load_result(step.id), open_run(summary.path).load_result(step.id))
