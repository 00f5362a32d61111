"""Multiple choice: its controls, the neurons that an address names, and its specs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from apps.common import state
from apps.common.catalogue import models
from apps.common.specs import one_step
from apps.common.subject import subject
from mechbench.experiments.spec import ExperimentSpec
from mechbench.resources import PLANTED
from mechbench.results.run import Run
from mechbench.tasks.choice_families import FAMILIES

SIDE_EFFECTS = "edit-side-effects"
MOST = 16
PAPER = "Li and Gao 2025"
_LABELS = ("A", "1", "P")
_SIZES = ("2", "3", "4", "5")
_GOLD = ("balanced", "not_first", "as_given")
_USUAL = {"model": "mcq-anchored", "task": "multiple_choice", "n": 64, "seed": 0}
_NEURON = re.compile(r"\d{1,4}\.\d{1,7}")
LAMBDA1 = state.Real("lambda1", 0.0, 16.0, 1.0)
LAMBDA2 = state.Real("lambda2", 0.0, 16.0, 8.0)
ON = state.Flag("on", True)


@dataclass(frozen=True)
class Neurons(state.Text):
    """Neurons "layer.neuron" with commas between them, each once."""

    def parse(self, text: str) -> str:
        """The same without spaces; ValueError says what is expected."""
        names = neuron_names(text)
        if not all(_NEURON.fullmatch(name) for name in names):
            raise ValueError("neurons as layer.neuron, such as 1.163,0.7")
        if len(set(names)) < len(names) or len(names) > MOST:
            raise ValueError(f"at most {MOST} neurons, each once")
        return ",".join(names)


EDITS = Neurons("edits")


def neuron_names(text: str) -> tuple[str, ...]:
    """The names in ``text``, in their order."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def offered() -> list[str]:
    """Models that may know labels: those for multiple choice first, and no planted circuits."""
    names = [n for n in models() if n not in PLANTED and n.partition("-")[0] != "twohop"]
    return sorted(names, key=lambda name: not name.startswith("mcq-"))


def questions(run: Run | None) -> tuple[str, dict[str, Any]]:
    """The model's name and the task part of a spec, from controls; at first those of ``run``."""
    given = {} if run is None else ExperimentSpec.model_validate(run.spec).task.params
    model, part = subject(run, tasks=("multiple_choice",), offered=offered(), usual=_USUAL)
    columns = st.columns([4, 1, 2, 2])
    with columns[0]:
        families = state.several(
            "Families of questions",
            state.Several("families", list(FAMILIES), _families(given)),
            help="They take turns. The bundled mcq models were trained on greater_than and "
            "alphabet; ioi, deduction and greater_than are the sets of Li and Gao 2025.",
        )
    with columns[1]:
        labels = state.select(
            "Labels",
            state.Choice("labels", _LABELS, _one_of(_LABELS, given.get("labels"))),
            help="The first label; the others follow it. Other labels tell a bias towards a place "
            "from one towards a token.",
        )
    with columns[2]:
        sizes = state.several(
            "Numbers of options",
            state.Several("options", _SIZES, _sizes(given)),
            help="They take turns. None: as many as each family has (Li and Gao 2025: 2, 3, 4).",
        )
    with columns[3]:
        gold = state.select(
            "Right options",
            state.Choice("gold", _GOLD, _one_of(_GOLD, given.get("gold"))),
            help="balanced: every place is right equally often. not_first: never the first, so "
            "every such answer is wrong. as_given: in the order of the question.",
        )
    params: dict[str, Any] = {"families": list(families or FAMILIES), "labels": labels}
    if sizes:
        params["n_options"] = [int(size) for size in sizes]
    return model, {**part, "params": {**params, "gold": gold}}


def _families(given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(given.get("families", ("greater_than", "alphabet")))


def _sizes(given: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = given.get("n_options", [])
    return tuple(map(str, sizes if isinstance(sizes, list) else [sizes]))


def _one_of(options: tuple[str, ...], given: Any) -> str:
    return given if given in options else options[0]


def bias_spec(model: str, part: dict[str, Any]) -> ExperimentSpec:
    """How often the first label is answered where it is wrong, and the same under other labels."""
    others = [label for label in _LABELS if label != part["params"]["labels"]]
    title = "Anchored answers"
    return one_step("anchored-bias", title, model, part, "anchored_bias", other_labels=others)


def vectors_spec(model: str, part: dict[str, Any], **params: Any) -> ExperimentSpec:
    """The search for value vectors that say the first label."""
    return one_step("value-vectors", "Value vectors", model, part, "value_vectors", **params)


def edit_spec(
    model: str, part: dict[str, Any], neurons: tuple[str, ...], target: str
) -> ExperimentSpec:
    """The answers before and after the edit that the address names."""
    title = f"Edit of {', '.join(neurons)}"
    return one_step(
        "edited-choices",
        title,
        model,
        part,
        "edited_choices",
        neurons=list(neurons),
        target=target,
        **strength(),
    )


def side_effects_spec(
    model: str,
    part: dict[str, Any],
    neurons: tuple[str, ...],
    others: tuple[str, ...],
    n_texts: int,
) -> ExperimentSpec:
    """Other tasks and text under the edit that the address names."""
    return one_step(
        SIDE_EFFECTS,
        f"Side effects of edits of {', '.join(neurons)}",
        model,
        part,
        "edit_side_effects",
        neurons=list(neurons),
        n_neurons=len(neurons),
        others={name: {"n": part["n"]} for name in others},
        n_texts=n_texts,
        **strength(),
    )


def strength() -> dict[str, float]:
    """How much is taken out and put in, as the address says; nothing where edits are off."""
    if not state.read(ON):
        return {"lambda1": 0.0, "lambda2": 0.0}
    return {"lambda1": state.read(LAMBDA1), "lambda2": state.read(LAMBDA2)}


def neurons_of(run: Run | None) -> tuple[str, ...]:
    """The neurons that a run edited."""
    params = {} if run is None else ExperimentSpec.model_validate(run.spec).steps[0].params
    return tuple(map(str, params.get("neurons", ())))
