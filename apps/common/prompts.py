"""What the page Prompts loads: the answers to both prompts of each pair."""

import pandas as pd
import streamlit as st

from apps.common.session import pool
from apps.common.specs import one_step, task_part
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.pair_logits import pair_logits_figure
from mechbench.figures.spec import FigureSpec, Heatmap

_DIFFERS = "background-color: #F5D5A0; color: #000000"


def pairs_spec(model: str, task: str, n: int, seed: int, pairs_id: str) -> ExperimentSpec:
    """The experiment that reads the answers."""
    part = task_part(task, n, seed, pairs_id)
    return one_step("pair-logits", "Clean and corrupted prompts", model, part, "pair_logits")


def show_chips(figure: FigureSpec) -> None:
    """The tokens of the pairs as a table, the ones that differ on a coloured ground."""
    panel = figure.panels[0]
    assert isinstance(panel, Heatmap) and panel.cell_text is not None
    tokens = pd.DataFrame(panel.cell_text, index=panel.rows, columns=panel.cols)
    grounds = pd.DataFrame(panel.values > 0, index=panel.rows, columns=panel.cols)
    st.dataframe(tokens.style.apply(lambda _: grounds.map(_ground), axis=None))
    st.caption("Tokens by position; a space is shown as ·. Coloured tokens differ within a pair.")


def _ground(differs: bool) -> str:
    return _DIFFERS if differs else ""


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
