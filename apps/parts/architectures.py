"""What the page Architectures loads: tables of models and architectures, and its experiments."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from mechbench.experiments.spec import ExperimentSpec, ModelPart, StepPart, TaskPart
from mechbench.figures.spec import FigureSpec
from mechbench.results.model_comparison import ModelComparison

CACHES = "cache-sizes"
_DIFFERS = "background-color: #F5D5A0; color: #000000"
_TASKS = {  # prompts that each kind of model can read; what is measured does not depend on them
    "acronyms": "acronyms",
    "mixed": "acronyms",
    "choice": "multiple_choice",
    "two_hop": "two_hop",
}


@st.cache_data(show_spinner="Reading the cards")
def entries() -> list[dict[str, Any]]:
    """The bundled models, by name."""
    from mechbench.experiments.catalogue import bundled_entries

    return bundled_entries()


@st.cache_data(show_spinner="Gathering the architectures")
def variants() -> list[dict[str, Any]]:
    """The architectures."""
    from mechbench.experiments.catalogue import architectures

    return architectures()


@st.cache_resource(show_spinner="Reading the cards", max_entries=64)
def comparison(names: tuple[str, ...]) -> ModelComparison:
    """The models side by side; shared, so nobody writes into it."""
    from mechbench.experiments.model_comparison import model_comparison

    return model_comparison(names)


@st.cache_resource(show_spinner="Drawing", max_entries=64)
def comparison_figure(names: tuple[str, ...]) -> FigureSpec:
    """The figure of ``comparison(names)``."""
    from mechbench.figures.model_comparison import model_comparison_figure

    return model_comparison_figure(comparison(names))


@st.cache_resource(show_spinner="Taking the model apart", max_entries=64)
def parts(name: str) -> Any:
    """The parts of a bundled model; no weights are read."""
    from mechbench.experiments.anatomy import folder_anatomy
    from mechbench.models.bundled import models_folder

    return folder_anatomy(models_folder() / name)


def card(name: str) -> str:
    """The Markdown of a bundled model's card."""
    path = {entry["name"]: entry["card"] for entry in entries()}[name]
    return Path(path).read_text(encoding="utf-8")


def model_table() -> pd.DataFrame:
    """A row for each bundled model."""
    return pd.DataFrame(
        {
            "model": entry["name"],
            "architecture": entry["architecture"],
            "layers": entry["config"].get("n_layers", entry["config"].get("n_blocks")),
            "heads": entry["config"].get("n_heads"),
            "width": entry["config"].get("d_model"),
            "context": entry["config"].get("n_ctx"),
            "parameters": entry["parameters"],
            "cache bytes per token": (entry["cost"] or {}).get("cache_bytes_per_token"),
            "FLOPs per token": (entry["cost"] or {}).get("flops_per_token"),
            "after tokens": (entry["cost"] or {}).get("n_tokens"),
            "control": entry["control"],
            "file bytes": entry["bytes"],
        }
        for entry in entries()
    )


def variant_table() -> pd.DataFrame:
    """A row for each architecture."""
    return pd.DataFrame(
        {
            "name": entry["name"],
            "architecture": entry["title"],
            "paper": entry["paper"],
            "dense control": entry["control"],
            "goes on from a cache": entry["incremental"],
            "analyses of its own": ", ".join(entry["inspections"]),
        }
        for entry in variants()
    )


def accuracy_table(corpus: str) -> pd.DataFrame:
    """A row for each task of each model that was trained on this kind of text."""
    return pd.DataFrame(
        {
            "model": entry["name"],
            "task": task,
            "accuracy": score["accuracy"],
            "answers scored": score["n"],
            "control": entry["control"],
            "accuracy of the control": score["control"],
        }
        for entry in entries()
        if entry["corpus"] == corpus
        for task, score in entry["tasks"].items()
    )


def measured_table(names: tuple[str, ...]) -> pd.DataFrame:
    """What analyses found, as it stands on the cards, with intervals."""
    return pd.DataFrame(
        {"model": entry["name"], **row}
        for entry in entries()
        if entry["name"] in names
        for row in entry["measured"]
    )


def config_table(result: ModelComparison) -> Any:
    """Settings in rows and models in columns; those that differ on a coloured ground."""
    settings, differing = result.settings(), set(result.differing())
    table = pd.DataFrame(
        [
            ["≠" if name in differing else "", *(str(values.get(m, "–")) for m in result.configs)]
            for name, values in settings.items()
        ],
        index=list(settings),
        columns=["differs", *result.configs],
    )
    return table.style.apply(
        lambda row: [_DIFFERS if row.name in differing else ""] * len(row), axis=1
    )


def caches_spec(names: tuple[str, ...]) -> ExperimentSpec:
    """The experiment that measures what generation keeps, the first model beside the others."""
    first, *others = names
    corpus = {entry["name"]: entry["corpus"] for entry in entries()}[first]
    part = ModelPart(name=first, fold_ln=False, center_writing_weights=False, center_unembed=False)
    return ExperimentSpec(
        name="caches",
        title="What generation keeps in memory",
        model=part,
        task=TaskPart(name=_TASKS[corpus], n=4, seed=0),
        steps=(StepPart(analysis="cache_sizes", id=CACHES, params={"others": others}),),
    )
