"""The tasks by name, as specs and the command line build them."""

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any, Literal

from pydantic import ValidationError, validate_call

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.acronym_task import AcronymTask
from mechbench.tasks.acronyms import acronyms
from mechbench.tasks.base import Task
from mechbench.tasks.choices_file import choices_file
from mechbench.tasks.docstring import docstring
from mechbench.tasks.greater_than import greater_than
from mechbench.tasks.induction import induction
from mechbench.tasks.ioi import ioi
from mechbench.tasks.multiple_choice import multiple_choice
from mechbench.tasks.pairs_file import pairs
from mechbench.tasks.planted import PLANTED_TASKS
from mechbench.tasks.prompts import load_prompts
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_file import load_two_hop
from mechbench.tasks.two_hop_generated import two_hop


def prompts(
    tokenizer: Any, path: Any, *, words: Sequence[str] | None = None, against: str = "max"
) -> AcronymTask:
    """The acronym task on the prompts of a file; see ``mechbench.tasks.prompts.load_prompts``."""
    return load_prompts(path, tokenizer, words=words, against=against)


def two_hop_file(
    tokenizer: Any,
    path: Any,
    *,
    n: int | None = None,
    family: Literal["relation_first", "entity_first"] = "relation_first",
    bad_rows: Literal["refuse", "skip"] = "refuse",
    config: str | None = None,
    split: str = "train",
) -> TwoHopTask:
    """Two-hop queries of a file; see ``mechbench.tasks.two_hop_file.load_two_hop``."""
    return load_two_hop(
        path, tokenizer, n=n, family=family, bad_rows=bad_rows, config=config, split=split
    )


TASKS: dict[str, Callable[..., Task]] = {
    "acronyms": acronyms,
    "prompts": prompts,
    "induction": induction,
    "ioi": ioi,
    "greater_than": greater_than,
    "docstring": docstring,
    "multiple_choice": multiple_choice,
    "choices_file": choices_file,
    "pairs": pairs,
    "two_hop": two_hop,
    "two_hop_file": two_hop_file,
    **PLANTED_TASKS,
}


def task_params(name: str) -> dict[str, Parameter]:
    """The parameters that a task takes, by name, besides the tokenizer.

    Raises:
        TaskError: an unknown task; the nearest names are offered.
    """
    if name not in TASKS:
        raise TaskError(f"There is no task {name!r}. {did_you_mean(name, TASKS)}")
    parameters = signature(TASKS[name]).parameters
    return {key: value for key, value in parameters.items() if key != "tokenizer"}


def check_params(name: str, params: Sequence[str]) -> None:
    """Raises TaskError for parameters that a task does not have, or needs and does not get."""
    known = task_params(name)
    for param in params:
        if param not in known:
            raise TaskError(
                f"The task {name!r} has no parameter {param!r}. {did_you_mean(param, known)}"
            )
    needed = [key for key, p in known.items() if p.default is p.empty and key not in params]
    if needed:
        raise TaskError(f"The task {name!r} needs the parameter {needed[0]!r}.")


def build_task(name: str, tokenizer: Any, **params: Any) -> Task:
    """A task by its name in ``TASKS``, with its parameters.

    Raises:
        TaskError: an unknown task or parameter, a missing one, a value of the wrong type, or what
            the task itself raises.
    """
    check_params(name, list(params))
    try:
        return validate_call(TASKS[name])(tokenizer, **params)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise TaskError(f"Parameters of the task {name!r} do not fit. {problems}.") from None
