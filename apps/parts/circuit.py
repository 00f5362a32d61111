"""What the page Circuit runs and loads: scores with a curve, and the test of what is shown."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from apps.common.session import pool
from apps.common.specs import OWN
from apps.common.work import finished_result
from mechbench.errors import CircuitError
from mechbench.experiments.spec import ExperimentSpec, TaskPart
from mechbench.figures.circuit_view import CircuitView, circuit_view
from mechbench.graphs.annotations import Annotations
from mechbench.graphs.circuit import Circuit
from mechbench.results.circuit_curve import CircuitCurve
from mechbench.results.circuit_faithfulness import CircuitFaithfulness
from mechbench.results.edge_scores import EdgeScores
from mechbench.results.run import Run, open_run
from mechbench.results.scored_circuits import cut, thresholded

SCORES, CURVE, EXACT = "scores", "curve", "exact"
METHODS = ("eap-ig-inputs", "eap-ig-activations", "eap", "clean-corrupted")
WITH_STEPS = METHODS[:2]
# Scores are the same on folded weights, and models that cannot be folded have circuits as well.
_AS_STORED = {"fold_ln": False, "center_writing_weights": False, "center_unembed": False}


def score_spec(model: str, part: dict[str, Any], method: str, steps: int | None) -> ExperimentSpec:
    """Scores of all edges, and how faithful the circuits of each size are on other prompts."""
    given = {"method": method} | ({} if steps is None else {"steps": steps})
    curve = {"scores": f"@{SCORES}", "n_random": 10}
    steps_of = [
        {"id": SCORES, "analysis": "edge_attribution", "params": given},
        {"id": CURVE, "analysis": "circuit_curve", "params": curve, **_others(part)},
    ]
    return _spec("circuit", f"Circuit by {method}", model, part, steps_of)


def exact_spec(
    spec: ExperimentSpec, threshold: float, *, prune: bool, n_random: int
) -> ExperimentSpec:
    """The scores of ``spec``, and the test of the circuit that a threshold makes of them."""
    (scores,) = [step.model_dump() for step in spec.steps if step.id == SCORES]
    params = {"scores": f"@{SCORES}", "threshold": threshold, "prune": prune, "n_random": n_random}
    step = {"id": EXACT, "analysis": "circuit_faithfulness", "params": params}
    part = spec.task.model_dump()
    found = _spec("exact-circuit", "", spec.model.name, part, [scores, step | _others(part)])
    return found.model_copy(update={"model": spec.model, "seed": spec.seed})


def file_spec(
    model: str, part: dict[str, Any], path: Path, threshold: float, n_random: int
) -> ExperimentSpec:
    """The test of a circuit file, cut at a threshold."""
    params = {"circuit": str(path), "threshold": threshold, "n_random": n_random}
    step = {"id": EXACT, "analysis": "circuit_faithfulness", "params": params}
    return _spec("exact-circuit", "", model, part, [step])


def _others(part: dict[str, Any]) -> dict[str, Any]:
    """Prompts of the next seed; a task of typed prompts has no others."""
    drawn = part["name"] != OWN and part.get("seed") is not None
    return {"task": {"seed": part["seed"] + 1}} if drawn else {}


def _spec(name: str, title: str, model: str, part: dict[str, Any], steps: list) -> ExperimentSpec:
    about = {"name": model, **_AS_STORED}
    return ExperimentSpec.model_validate(
        {"name": name, "title": title, "model": about, "task": part, "steps": steps}
    )


@dataclass(frozen=True)
class Shown:
    """What the graph shows: scores of a run, or a loaded circuit.

    ``view`` is drawn; ``curve`` belongs to scores. ``key`` tells it from others.
    """

    key: str
    view: CircuitView
    scores: EdgeScores | None
    curve: CircuitCurve | None
    loaded: Circuit | None

    @property
    def is_plain(self) -> bool:
        """Whether the model is a plain transformer, which other programs know."""
        facts = {} if self.scores is None else self.scores.model_facts
        return bool(facts) and "stages" not in facts

    def circuit(self, threshold: float, prune: bool, notes: Annotations) -> Circuit:
        """The circuit at a threshold, with its annotations.

        Raises:
            CircuitError: nothing is left.
        """
        if self.loaded is not None:
            found = cut(self.loaded, threshold)
        else:
            assert self.scores is not None
            found = thresholded(self.scores, threshold, prune=prune)
        return replace(found, annotations=notes, roles={**found.roles, **notes.roles})


def shown_run(run: Run) -> Shown:
    """The scores of a run.

    Raises:
        CircuitError: the run holds no scores that can be drawn.
    """
    scores, curve = finished_result(run, SCORES), finished_result(run, CURVE)
    if not isinstance(scores, EdgeScores):
        raise CircuitError(f"The run {run.run_id} has no scores of edges yet.")
    curve = curve if isinstance(curve, CircuitCurve) else None
    key = f"{run.run_id}-{'' if curve is None else 'with'}-curve"
    return Shown(key, _view_of(key, scores), scores, curve, None)


def shown_circuit(circuit_id: str, circuit: Circuit) -> Shown:
    """A loaded circuit.

    Raises:
        CircuitError: it cannot be drawn.
    """
    return Shown(circuit_id, _view_of_circuit(circuit_id, circuit), None, None, circuit)


@st.cache_resource(show_spinner="Placing the nodes", max_entries=16)
def _view_of(key: str, _scores: EdgeScores) -> CircuitView:
    edges = _scores.graph().edge_names
    values = dict(zip(edges, _scores.scores.values.tolist(), strict=True))
    return circuit_view(edges, values, _scores.model_facts, n_graph_edges=len(edges))


@st.cache_resource(show_spinner="Placing the nodes", max_entries=16)
def _view_of_circuit(key: str, _circuit: Circuit) -> CircuitView:
    n_edges = len(_circuit.edges)
    return circuit_view(_circuit.edges, _circuit.scores, _circuit.model, n_graph_edges=n_edges)


def measured(spec: ExperimentSpec, run: Run | None) -> CircuitFaithfulness:
    """The last step of the spec, computed once; the scores are those of the run.

    Raises:
        MechbenchError: as the model, the task or the analysis.
    """
    return _measured(spec.model_dump_json(), "" if run is None else str(run.path))


@st.cache_resource(show_spinner="Measuring exactly this circuit", max_entries=128)
def _measured(spec_json: str, run_path: str) -> CircuitFaithfulness:
    from mechbench.experiments.runner import check_spec
    from mechbench.experiments.steps import Reference, checked_steps
    from mechbench.tasks.registry import build_task

    spec = ExperimentSpec.model_validate_json(spec_json)
    check_spec(spec)
    step = checked_steps(spec)[-1]
    params = dict(step.params)
    for name, value in params.items():
        if isinstance(value, Reference):
            params[name] = value.look_up(lambda step_id: _result(run_path, step_id))
    with pool().use(spec.model, spec.device) as model:
        task = build_task(spec.task.name, model.tokenizer, **step.part.task_options(spec.task))
        found = step.function(model, task, seed=spec.seed, **params)
    assert isinstance(found, CircuitFaithfulness)
    return found


def _result(run_path: str, step: str):
    found = finished_result(open_run(Path(run_path)), step)
    if found is None:
        raise CircuitError("The run has no scores yet.")
    return found


def prompts_of(part: TaskPart, result: CircuitFaithfulness) -> str:
    """How many prompts, which, and whether they had a part in the choice."""
    p = result.provenance
    seed = "" if p.task_seed is None else f", seed {p.task_seed}"
    chosen = "that did not choose it" if result.held_out else "that also chose it, or may have"
    return f"n = {p.n_prompts} prompts of {part.name}{seed}, {chosen}"
