"""What the page Routers and experts loads: which models have some, and its experiments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from apps.common.catalogue import models
from apps.common.specs import one_step
from apps.common.text import plain
from apps.common.work import named_run
from mechbench.experiments.spec import ExperimentSpec, ModelPart, StepPart
from mechbench.resources import bundled
from mechbench.results.run import Run

TOPK, RANDOM, THRESHOLD = "topk", "random", "aux_threshold"
MODES = ("predictor", THRESHOLD, TOPK, RANDOM, "all")
_SURVEYS = {
    "router_map": {},
    "router_interventions": {"n_random": 2},
    "expert_load": {},
    "expert_interventions": {"rows": 4},
    "merged_experts": {},
}


@dataclass(frozen=True)
class Parts:
    """What a model has: ``routed`` blocks, layers of ``experts``, ``surveys`` that look at all."""

    routed: tuple[int, ...]
    experts: tuple[int, ...]
    surveys: tuple[str, ...]


@st.cache_data(show_spinner="Looking for routers and experts")
def _parts(name: str, path: str) -> Parts | None:
    from mechbench.experiments.anatomy import folder_anatomy

    found = folder_anatomy(Path(path))
    if found is None or not (found.routed or found.experts):
        return None
    surveys = tuple(analysis for analysis in _SURVEYS if analysis in found.inspections)
    return Parts(found.routed, found.experts, surveys)


def routed_models() -> dict[str, Parts]:
    """The models with routers or experts, by name; no weights are read for it."""
    own = bundled("data") / "models"
    found = {
        name: _parts(name, str(path))
        for name in models()
        if (path := Path(name) if Path(name).is_absolute() else own / name).is_dir()
    }
    return {name: parts for name, parts in found.items() if parts is not None}


def routers_step(
    title: str, model: str, task: dict[str, Any], analysis: str, **params: Any
) -> ExperimentSpec:
    """An experiment of one analysis on a model whose weights are as they were stored."""
    name = analysis.replace("_", "-")
    return _unprocessed(one_step(name, title, model, task, analysis, **params))


def survey(model: str, task: dict[str, Any], analyses: tuple[str, ...]) -> ExperimentSpec:
    """The experiment that turns every decision, or rewrites every expert, one after another."""
    title = "All routers and experts"
    spec = _unprocessed(one_step("routers", title, model, task, analyses[0]))
    steps = [
        StepPart.model_validate({"analysis": analysis, "params": _SURVEYS[analysis]})
        for analysis in analyses
    ]
    return spec.model_copy(update={"steps": tuple(steps)})


def survey_run() -> Run | None:
    """The run that the address names, where it is a survey; else a warning and None."""
    run = named_run([])
    if run is not None and not {step["analysis"] for step in run.spec["steps"]} <= set(_SURVEYS):
        st.warning(plain(f"The run {run.run_id} is not of this page; the page Runs shows it."))
        return None
    return run


def _unprocessed(spec: ExperimentSpec) -> ExperimentSpec:
    """Folding and centring would change models of these architectures."""
    part = ModelPart(
        name=spec.model.name, fold_ln=False, center_writing_weights=False, center_unembed=False
    )
    return spec.model_copy(update={"model": part})
