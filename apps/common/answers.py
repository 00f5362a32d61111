"""Answers that a page computes at once: the one analysis of a spec, computed once, then kept.

What takes longer than a few seconds is a job instead (``apps.common.work``).
"""

import streamlit as st

from apps.common.session import pool
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.spec import FigureSpec
from mechbench.results.base import Result


def answer(spec: ExperimentSpec) -> Result:
    """The result of the spec's only step; shared by all users, so nobody writes into it.

    Raises:
        MechbenchError: as the model, the task or the analysis.
    """
    return _result(spec.model_dump_json())


def answer_figure(spec: ExperimentSpec) -> FigureSpec:
    """The figure of ``answer(spec)``, as the analysis draws it."""
    return _figure(spec.model_dump_json())


@st.cache_resource(show_spinner="Computing", max_entries=128)
def _result(spec_json: str) -> Result:
    from mechbench.experiments.runner import check_spec
    from mechbench.experiments.steps import checked_steps
    from mechbench.tasks.registry import build_task

    spec = ExperimentSpec.model_validate_json(spec_json)
    check_spec(spec)
    (step,) = checked_steps(spec)
    with pool().use(spec.model, spec.device) as model:
        task = build_task(spec.task.name, model.tokenizer, **step.part.task_options(spec.task))
        return step.function(model, task, seed=spec.seed, **step.params)


@st.cache_resource(show_spinner="Drawing", max_entries=128)
def _figure(spec_json: str) -> FigureSpec:
    from mechbench.experiments.runner import figure_of

    (step,) = ExperimentSpec.model_validate_json(spec_json).steps
    return figure_of(step.analysis, _result(spec_json))
