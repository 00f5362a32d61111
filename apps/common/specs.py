"""The experiments that pages start, as specs of the library."""

from pathlib import Path
from typing import Any

import streamlit as st

from apps.common.catalogue import models
from apps.common.settings import settings
from apps.common.state import Hex
from mechbench.experiments.spec import ExperimentSpec

OWN = "pairs"  # the task on prompts that a user typed
SWEEP = "patch-sweep"
PAIRS = Hex("pairs", 16)  # the id of prompts that a user typed


def prompts_file(pairs_id: str) -> Path:
    """Where prompts that a user typed are kept; the id is checked to be letters and digits."""
    return settings().store / "prompts" / f"{pairs_id}.jsonl"


def task_part(task: str, n: int, seed: int, pairs_id: str) -> dict[str, Any]:
    """The task of a spec: generated prompts, or those of a file that a page wrote."""
    if task == OWN:
        path = str(prompts_file(pairs_id))
        return {"name": OWN, "params": {"path": path, "length": "refuse", "bad_rows": "refuse"}}
    return {"name": task, "n": n, "seed": seed}


def one_step(
    name: str, title: str, model: str, task: dict[str, Any], analysis: str, **params: Any
) -> ExperimentSpec:
    """An experiment of one analysis; parameters that are None are left to the analysis."""
    given = {key: value for key, value in params.items() if value is not None}
    return ExperimentSpec.model_validate(
        {
            "name": name,
            "title": title,
            "model": {"name": model, **(_processing(model) if model in models() else {})},
            "task": task,
            "steps": [{"analysis": analysis, "params": given}],
        }
    )


@st.cache_data(show_spinner=False)
def _processing(model: str) -> dict[str, bool]:
    """What a spec says about a model whose weights cannot be folded; nothing about the others."""
    from mechbench.models.loading import usual_processing

    usual = vars(usual_processing(model))
    return {} if all(usual.values()) else usual
