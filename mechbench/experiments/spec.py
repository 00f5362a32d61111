"""Experiment specs: which analyses run on which model and task. Read from YAML, never executed."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mechbench.errors import SpecError, did_you_mean
from mechbench.experiments.overrides import apply_overrides
from mechbench.experiments.spec_errors import describe
from mechbench.resources import bundled
from mechbench.results.codec import content_hash

Format = Literal["html", "pdf", "svg", "png"]
_NAME = r"^[a-z0-9]+([._-][a-z0-9]+)*$"
_STEP = r"^[a-z0-9]+(-[a-z0-9]+)*$"  # names files, and what "@step.field" refers to


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPart(_Part):
    """Which model, and how its weights are prepared.

    ``snapshot`` is a step of training, for the bundled models that ship some; None is the final
    model.
    """

    name: str = Field(min_length=1)
    snapshot: int | None = None
    fold_ln: bool = True
    center_writing_weights: bool = True
    center_unembed: bool = True
    dtype: Literal["float32", "float64", "float16", "bfloat16"] = "float32"


class TaskPart(_Part):
    """Which task, on how many prompts; ``params`` are the task's other options.

    ``n`` and ``seed`` are the task's own defaults where they are left out.
    """

    name: str = Field(min_length=1)
    n: int | None = Field(default=None, ge=1)
    seed: int | None = None
    params: dict[str, Any] = Field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """What the task is built with."""
        given = {"n": self.n, "seed": self.seed}
        return {**self.params, **{k: v for k, v in given.items() if v is not None}}


class StepPart(_Part):
    """One analysis. ``id`` names its result and its figure; it defaults to the analysis' name.

    ``n`` makes the step work on another number of prompts than the experiment; ``task`` changes
    other parameters of the task, such as its seed, so that a circuit is tested on prompts that did
    not choose it. A value of ``params`` may be ``"@step"`` or ``"@step.field"``: the result of an
    earlier step, or a field of it. A step that ``needs`` snapshots is left out where the model
    ships none.
    """

    analysis: str = Field(min_length=1)
    id: str = Field(default="", pattern=rf"{_STEP}|^$")
    n: int | None = Field(default=None, ge=1)
    task: dict[str, Any] = Field(default_factory=dict)
    needs: Literal["snapshots"] | None = None
    params: dict[str, Any] = Field(default_factory=dict)

    def task_options(self, task: TaskPart) -> dict[str, Any]:
        """What the step's task is built with."""
        return {**task.options(), **self.task, **({} if self.n is None else {"n": self.n})}

    @model_validator(mode="before")
    @classmethod
    def _default_id(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("id") and isinstance(data.get("analysis"), str):
            return {**data, "id": data["analysis"].replace("_", "-")}
        return data


class OutputsPart(_Part):
    """Which files are made of each figure; the plotly page for the report is always made."""

    preset: Literal["column", "text"] = "text"
    formats: tuple[Format, ...] = ("pdf", "svg")


class ExperimentSpec(_Part):
    """An experiment: a model, a task and the analyses to run on them, in order.

    ``measure_speed`` also times the sweep planner against a plain loop.
    """

    name: str = Field(pattern=_NAME)
    title: str = ""
    model: ModelPart
    task: TaskPart
    steps: tuple[StepPart, ...] = Field(min_length=1)
    seed: int = 0
    device: str | None = None
    measure_speed: bool = False
    outputs: OutputsPart = OutputsPart()

    @model_validator(mode="after")
    def _unique_ids(self) -> Self:
        seen: set[str] = set()
        for step in self.steps:
            if step.id in seen:
                raise ValueError(
                    f"two steps are called {step.id!r}: give each step of one analysis its own id"
                )
            seen.add(step.id)
        return self

    def canonical(self) -> dict[str, Any]:
        """The spec as JSON data with every default written out; equal specs give equal data."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """SHA-256 of all that can change a number: everything but the title and the outputs."""
        kept = {k: v for k, v in self.canonical().items() if k not in ("title", "outputs")}
        return content_hash(kept)


def parse_spec(data: Any, *, origin: str) -> ExperimentSpec:
    """The spec that ``data`` describes; ``origin`` names it in messages.

    Raises:
        SpecError: unknown keys (the nearest valid one is named), missing keys, wrong types; all
            problems in one message.
    """
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise SpecError(
            f"{origin} is not an experiment spec: it {found}, where keys such as 'name', 'model', "
            "'task' and 'steps' are expected."
        )
    try:
        return ExperimentSpec.model_validate(data)
    except ValidationError as error:
        problems = describe(error, ExperimentSpec)
        raise SpecError(f"{origin} is not a valid experiment spec: {problems}") from None


def load_spec(
    source: str | Path, *, overrides: tuple[str, ...] = (), model: str | None = None
) -> ExperimentSpec:
    """The spec in a YAML file, or the bundled one of that name, with ``a.b=c`` overrides.

    ``model`` replaces the model's name and its snapshot, and keeps its other options.

    Raises:
        SpecError: no such spec, unreadable YAML, an override that matches nothing, or a spec that
            does not validate.
    """
    path = find_spec(source)
    data = read_yaml(path, "spec")
    if model is not None and isinstance(data, dict) and isinstance(data.get("model"), dict):
        data = {**data, "model": {**data["model"], "name": model, "snapshot": None}}
    return parse_spec(apply_overrides(data, overrides), origin=f"The spec {str(source)!r}")


def find_spec(source: str | Path) -> Path:
    """The path of a spec: a file, or the name of a bundled one.

    Raises:
        SpecError: neither; the bundled names are listed.
    """
    path = Path(source)
    if path.is_file():
        return path
    bundled_path = bundled("circuits") / str(source) / "spec.yaml"
    if str(source) in bundled_specs() and bundled_path.is_file():
        return bundled_path
    raise SpecError(
        f"There is no spec file {str(source)!r}, and no bundled spec of that name. "
        f"{did_you_mean(str(source), bundled_specs())}"
    )


def bundled_specs() -> list[str]:
    """Names of the specs that ship with mechbench."""
    return sorted(p.parent.name for p in bundled("circuits").glob("*/spec.yaml"))


def read_yaml(path: Path, what: str) -> Any:
    """The data in a YAML file.

    Raises:
        SpecError: the file, called ``what``, cannot be read, or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"Cannot read the {what} {str(path)!r}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SpecError(f"The {what} {str(path)!r} is not UTF-8 text.") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise SpecError(f"The {what} {str(path)!r} is not valid YAML{line}: {problem}.") from None
