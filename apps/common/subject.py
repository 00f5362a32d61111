"""The controls that most pages begin with: which model, which prompts, how many, drawn how."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from apps.common import state
from apps.common.catalogue import GENERATED, models
from apps.common.specs import OWN, PAIRS, task_part
from mechbench.errors import TaskError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run

FOLDED = "Its weights are folded so that heads can be compared (Elhage et al. 2021)."
USUAL = {"model": "acronyms-gpt2", "task": "acronyms", "n": 32, "seed": 0}


def subject(
    run: Run | None,
    *,
    tasks: Sequence[str] = (*GENERATED, OWN),
    offered: Sequence[str] | None = None,
    usual: Mapping[str, Any] = USUAL,
    unseeded: Sequence[str] = (),
    weights: str = FOLDED,
) -> tuple[str, dict[str, Any]]:
    """The model's name and the task part of a spec; at first those of ``run``.

    Args:
        tasks: the tasks that the page works on.
        offered: the models that the page works on; by default all.
        usual: what is shown where neither the address nor a run says anything.
        unseeded: the tasks whose prompts are not drawn, so that they have no seed.
        weights: how the page prepares the model's weights, in words.

    Raises:
        TaskError: own prompts that were not written yet.
    """
    names = list(models()) if offered is None else list(offered)
    shown = {**usual, **_of_run(run, names, tasks)}
    columns = st.columns([3, 3, 2, 2])
    with columns[0]:
        model = state.select(
            "Model",
            state.Choice("model", names, shown["model"]),
            help=f"Loaded when it is first used. {weights}",
        )
    with columns[1]:
        task = state.select(
            "Task",
            state.Choice("task", tasks, shown["task"]),
            help="Where prompts come from; the README names each task's paper. pairs: those that "
            "you typed on the page Prompts.",
        )
    if task == OWN:
        pairs_id = state.read(PAIRS)
        if not pairs_id:
            raise TaskError("Write your pairs on the page Prompts first, and follow its link here.")
        return model, task_part(task, 0, 0, pairs_id)
    with columns[2]:
        n = state.number(
            "Prompts",
            state.Whole("n", 2, 512, shown["n"]),
            help="More prompts give narrower intervals and take longer.",
        )
    if task in unseeded:
        return model, {"name": task, "n": n}
    with columns[3]:
        seed = state.number(
            "Seed of the prompts",
            state.Whole("seed", 0, 99999, shown["seed"]),
            help="Which prompts are drawn.",
        )
    return model, task_part(task, n, seed, "")


def _of_run(run: Run | None, offered: Sequence[str], tasks: Sequence[str]) -> dict[str, Any]:
    if run is None:
        return {}
    spec = ExperimentSpec.model_validate(run.spec)
    found = {
        "model": spec.model.name if spec.model.name in offered else None,
        "task": spec.task.name if spec.task.name in tasks else None,
        "n": spec.task.n,
        "seed": spec.task.seed,
    }
    return {name: value for name, value in found.items() if value is not None}
