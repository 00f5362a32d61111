"""A spec as text that runs it again: a Python script, or a command for a shell."""

import keyword
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mechbench.analyses.registry import ANALYSES
from mechbench.experiments.spec import ExperimentSpec

_LOADING = ("fold_ln", "center_writing_weights", "center_unembed")
_NAMES = ("model", "task", "mechbench", "build_task")
_END = "END_OF_SPEC"


def as_python(spec: ExperimentSpec) -> str:
    """A script that computes the spec's results; each is a variable named like its step.

    A step that a run leaves out, because the model ships no snapshots, is left out.
    """
    steps = [step for step in spec.steps if step.needs is None or _ships_snapshots(spec.model.name)]
    analyses = sorted({step.analysis for step in steps})
    lines = ["import mechbench"]
    lines += [f"from mechbench.analyses.{name} import {name}" for name in analyses]
    lines += ["from mechbench.tasks.registry import build_task", "", _model(spec)]
    previous = None
    for step in steps:
        options = step.task_options(spec.task)
        if options != previous:
            given = (repr(spec.task.name), "model.tokenizer")
            lines.append(_call("task", "build_task", *given, **options))
            previous = options
        params = {name: _Value(value) for name, value in step.params.items()}
        name = variable(step.id)
        lines.append(_call(name, step.analysis, "model", "task", **params, seed=spec.seed))
    return "\n".join(lines) + "\n"


def model_comparison_script(names: Sequence[str]) -> str:
    """A script that puts bundled models side by side, as ``model_comparison`` does."""
    call = _call("comparison", "model_comparison", repr(list(names)))
    return f"from mechbench.experiments.model_comparison import model_comparison\n\n{call}\n"


def as_command(spec: ExperimentSpec, store: Path) -> str:
    """Lines for a POSIX shell that write the spec to a file and run it into ``store``."""
    file = f"{spec.name}.yaml"
    kept = spec.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    run = shlex.join(["mechbench", "run", file, "--out", str(store)])
    return f"cat > {shlex.quote(file)} <<'{_END}'\n{text}{_END}\n{run}\n"


def variable(step: str) -> str:
    """What ``as_python`` calls the result of the step with this id."""
    name = re.sub(r"\W", "_", step)
    if not name.isidentifier():
        name = f"step_{name}"
    taken = name in ANALYSES or name in _NAMES or keyword.iskeyword(name)
    return f"{name}_result" if taken else name


def _ships_snapshots(model: str) -> bool:
    from mechbench.models.bundled import bundled_models

    return any(found.name == model and found.snapshots for found in bundled_models())


class _Value:
    """A parameter; ``"@step.field"`` becomes the variable that holds it."""

    def __init__(self, value: Any):
        self.value = value

    def __repr__(self) -> str:
        if isinstance(self.value, str) and self.value.startswith("@"):
            step, _, field = self.value.removeprefix("@").partition(".")
            return f"{variable(step)}.{field}" if field else variable(step)
        return repr(self.value)


def _model(spec: ExperimentSpec) -> str:
    part = spec.model
    options: dict[str, Any] = {name: True for name in _LOADING if getattr(part, name)}
    if part.snapshot is not None:
        options["snapshot"] = part.snapshot
    if part.dtype != "float32":
        options["dtype"] = part.dtype
    if spec.device is not None:
        options["device"] = spec.device
    return _call("model", "mechbench.load_model", repr(part.name), **options)


def _call(target: str, function: str, /, *given: str, **options: Any) -> str:
    arguments = [*given, *(f"{name}={value!r}" for name, value in options.items())]
    line = f"{target} = {function}({', '.join(arguments)})"
    if len(line) <= 100:
        return line
    inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"{target} = {function}(\n{inner})"
