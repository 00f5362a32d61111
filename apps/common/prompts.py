"""What the page Prompts loads: the answers to both prompts of each pair."""

import streamlit as st

from apps.common.session import pool
from apps.common.specs import one_step, task_part
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.pair_logits import pair_logits_figure
from mechbench.figures.spec import FigureSpec


def pairs_spec(model: str, task: str, n: int, seed: int, pairs_id: str) -> ExperimentSpec:
    """The experiment that reads the answers."""
    part = task_part(task, n, seed, pairs_id)
    return one_step("pair-logits", "Clean and corrupted prompts", model, part, "pair_logits")


@st.cache_data(show_spinner="Reading the answers", max_entries=64)
def pairs_figure(spec_json: str) -> FigureSpec:
    """The figure of a spec of ``pairs_spec``; computed once, then kept."""
    from mechbench.analyses.pair_logits import pair_logits
    from mechbench.tasks.registry import build_task

    spec = ExperimentSpec.model_validate_json(spec_json)
    with pool().use(spec.model, spec.device) as model:
        options = spec.steps[0].task_options(spec.task)
        task = build_task(spec.task.name, model.tokenizer, **options)
        return pair_logits_figure(pair_logits(model, task, seed=spec.seed))
