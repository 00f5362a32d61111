"""The analyses that a spec names, checked before anything expensive runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from mechbench.analyses.registry import ANALYSES
from mechbench.errors import SpecError, did_you_mean
from mechbench.experiments.spec import ExperimentSpec, StepPart
from mechbench.results.base import Result

_REFERENCE = "@"

# The runner gives these itself; a spec sets the seed once, for the whole experiment.
_RUNNERS_OWN = frozenset({"seed", "progress", "checkpoint"})


@dataclass(frozen=True)
class Reference:
    """``"@step"`` or ``"@step.field"`` in a spec."""

    step: str
    field: str

    def look_up(self, load: Callable[[str], Result]) -> Any:
        """The result of the step, or the field of it.

        Raises:
            SpecError: the result has no such field.
        """
        result = load(self.step)
        if not self.field:
            return result
        values = result.field_values()
        if self.field not in values:
            raise SpecError(
                f"The result of step {self.step!r} has no field {self.field!r}. "
                f"{did_you_mean(self.field, values)}"
            )
        return values[self.field]


@dataclass(frozen=True)
class Step:
    """One analysis with its checked parameters.

    Attributes:
        part: as the spec says it.
        function: the analysis.
        params: its keyword arguments, converted to the types that it declares; a ``Reference``
            stands for what an earlier step finds.
    """

    part: StepPart
    function: Callable[..., Result]
    params: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.part.id


def checked_steps(spec: ExperimentSpec) -> list[Step]:
    """The spec's steps, ready to run.

    Raises:
        SpecError: an analysis or a parameter that does not exist (the nearest one is named), or a
            value of the wrong type; all problems in one message.
    """
    steps, problems = [], []
    for part in spec.steps:
        if part.analysis not in ANALYSES:
            hint = did_you_mean(part.analysis, ANALYSES)
            problems.append(f"Step {part.id!r}: no analysis is called {part.analysis!r}. {hint}")
            continue
        function = getattr(import_module(ANALYSES[part.analysis]), part.analysis)
        params, wrong = _checked_params(part, function, [step.id for step in steps])
        problems += wrong
        steps.append(Step(part, function, params))
    if problems:
        raise SpecError(f"The spec {spec.name!r} cannot run: {' '.join(problems)}")
    return steps


def _checked_params(
    part: StepPart, function: Callable[..., Result], earlier: list[str]
) -> tuple[dict[str, Any], list[str]]:
    known = {
        name: parameter
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY and name not in _RUNNERS_OWN
    }
    params, problems = {}, []
    for name, value in part.params.items():
        if name not in known:
            hint = did_you_mean(name, known) if known else "It takes no parameters."
            problems.append(f"Step {part.id!r}: {part.analysis} has no parameter {name!r}. {hint}")
            continue
        if isinstance(value, str) and value.startswith(_REFERENCE):
            step, _, field = value.removeprefix(_REFERENCE).partition(".")
            if step not in earlier:
                hint = did_you_mean(step, earlier) if earlier else "It is the first step."
                problems.append(
                    f"Step {part.id!r}: {name} refers to {step!r}, which is no earlier step. {hint}"
                )
            params[name] = Reference(step, field)
            continue
        try:
            params[name] = _converted(value, known[name].annotation)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            problems.append(f"Step {part.id!r}: {name} is {value!r}: {reason}.")
    return params, problems


def _converted(value: Any, annotation: Any) -> Any:
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return value  # a type that YAML cannot spell; the analysis checks its own input
    return adapter.validate_python(value)
