"""Circuit: scores of all edges, a threshold on them, and how faithful exactly that circuit is."""

from functools import partial

import streamlit as st

from apps.common import state
from apps.common.copying import show_copies
from apps.common.frame import framed
from apps.common.session import store
from apps.common.subject import subject
from apps.common.text import plain
from apps.common.work import finished_result, named_run, run_button, show_state
from apps.components.graph import threshold_graph, told
from apps.parts.circuit import (
    METHODS,
    SCORES,
    WITH_STEPS,
    Shown,
    exact_spec,
    file_spec,
    score_spec,
    shown_circuit,
    shown_run,
)
from apps.parts.circuit_answers import show_exact, show_figures, show_files
from apps.parts.circuit_data import graph_text
from apps.parts.circuit_files import (
    CIRCUIT,
    MOST_MEGABYTES,
    circuit_file,
    keep_circuit,
    named_circuit,
    named_notes,
    read_upload,
)
from apps.parts.circuit_notes import note_controls, pick_told, picked_param, pin_told
from mechbench.errors import MechbenchError
from mechbench.experiments.spec import ExperimentSpec
from mechbench.graphs.annotations import Annotations
from mechbench.results.circuit_faithfulness import CircuitFaithfulness
from mechbench.results.edge_scores import EdgeScores
from mechbench.results.run import Run

_GRAPH = "circuit-graph"
_AT_FIRST = 60  # edges
_WEIGHTS = "Its weights are taken as they are stored: edges have the same scores on folded ones."
_OF_THIS = ("t", "node", "picked", "notes", "circuit")


def draw() -> None:
    """The page."""
    st.title("Circuit")
    run = named_run([SCORES])
    spec, n_random = _form(run)
    run = run_button(spec, "Score the edges", clears=_OF_THIS) or run
    _load(run)
    circuit = named_circuit()
    if circuit is not None:
        st.button("Leave the loaded circuit", on_click=partial(_forget, _OF_THIS))
        _view(None, spec.model_dump_json(), n_random)
    elif run is None:
        st.info(
            "Choose a model and a task, and score its edges; or load a circuit, or open a run from "
            "the page Runs."
        )
        show_copies(spec)
    else:
        stored = ExperimentSpec.model_validate(run.spec)
        part = stored.task
        st.caption(plain(f"{run.run_id}: {stored.model.name}, {part.name}, n={part.n or 'all'}"))
        if not show_state(run):
            _view(run.run_id, stored.model_dump_json(), n_random)


def _form(run: Run | None) -> tuple[ExperimentSpec, int]:
    """What the controls describe, at first that of the run; and how many random circuits."""
    params = {} if run is None else ExperimentSpec.model_validate(run.spec).steps[0].params
    model, part = subject(run, weights=_WEIGHTS)
    columns = st.columns([4, 3, 3])
    with columns[0]:
        method = state.select(
            "Method",
            state.Choice("method", METHODS, params.get("method", METHODS[0])),
            help="How an edge is scored, without patching it: eap by one gradient (Syed et al. "
            "2023), eap-ig by several along a path between both prompts, through inputs (Hanna et "
            "al. 2024) or activations (Mueller et al. 2025), clean-corrupted by the two ends.",
        )
    with columns[1]:
        steps = state.number(
            "Steps",
            state.Whole("steps", 1, 100, params.get("steps", 5)),
            help="Gradients along the path, for the two integrated methods (Hanna et al. 2024 use "
            "5); the others have none to choose.",
        )
    with columns[2]:
        n_random = state.number(
            "Random circuits",
            state.Whole("random", 1, 200, 10),
            help="How many of each kind stand beside the measured circuit; more take longer. A "
            "circuit that random ones match is no finding (our choice of nulls).",
        )
    return score_spec(model, part, method, steps if method in WITH_STEPS else None), n_random


def _load(run: Run | None) -> None:
    """A circuit file of one's own."""
    with st.expander("Load a circuit"), st.form("load", border=False, clear_on_submit=True):
        given = st.file_uploader(
            "Circuit file (JSON)",
            type=["json"],
            max_upload_size=MOST_MEGABYTES,
            help="As saved here or by mechbench discover; or a graph file of EAP-IG (Hanna et al. "
            "2024), once the edges of its model are scored.",
        )
        if st.form_submit_button("Load") and given is not None:
            scores = None if run is None else finished_result(run, SCORES)
            try:
                circuit = read_upload(
                    given.getvalue(), given.name, scores if isinstance(scores, EdgeScores) else None
                )
                shown_circuit("", circuit)
            except MechbenchError as error:
                st.error(plain(str(error)))
                return
            keep_circuit(circuit)


@st.fragment
def _view(run_id: str | None, spec_json: str, n_random: int) -> None:
    """Graph, exact test and notes; what is changed here draws these again, not the whole page."""
    framed(partial(_draw_view, run_id, spec_json, n_random))


def _draw_view(run_id: str | None, spec_json: str, n_random: int) -> None:
    run = None if run_id is None else store().open(run_id)
    circuit = named_circuit()
    if run is not None:
        shown = shown_run(run)
    elif circuit is not None:
        shown = shown_circuit(state.read(CIRCUIT), circuit)
    else:
        return
    view = shown.view
    threshold = state.read(
        state.Real("t", view.low, view.high, view.threshold_of(_AT_FIRST))
        if shown.loaded is None
        else state.Real("t", view.low, view.high, view.low)
    )
    state.write(t=threshold)
    prune, merged, exact = _switches(shown)
    notes = named_notes()
    graph = st.container()
    spec = ExperimentSpec.model_validate_json(spec_json)
    test = (
        exact_spec(spec, threshold, prune=prune, n_random=n_random)
        if shown.loaded is None
        else file_spec(
            spec.model.name,
            spec.task.model_dump(),
            circuit_file(state.read(CIRCUIT)),
            threshold,
            n_random,
        )
    )
    result = show_exact(test, run) if exact else None
    with graph:
        selected = _graph(shown, threshold, prune, merged, notes, result)
    with st.expander("Label, pin and group", expanded=bool(selected)):
        note_controls(notes, view.nodes, selected)
    show_files(shown, threshold, prune, notes)
    show_figures(shown, result, notes)
    show_copies(test)


def _switches(shown: Shown) -> tuple[bool, bool, bool]:
    columns = st.columns(3)
    with columns[2]:
        prune = shown.loaded is None and state.toggle(
            "Only input to logits",
            state.Flag("prune", False),
            help="Leaves out edges that lie on no path, which do nothing under patching (as Hanna "
            "et al. 2024 prune). They count for the complement and for the size.",
        )
    with columns[1]:
        merged = state.toggle(
            "Draw groups as one node",
            state.Flag("merged", False),
            help="Supernodes, as in attribution graphs (Ameisen et al. 2025).",
        )
    with columns[0]:
        exact = state.toggle(
            "Measure on release",
            state.Flag("exact", True),
            help="Runs the model with exactly the shown edges intact, each time the threshold is "
            "let go. On a large model it takes a while.",
        )
    return prune, merged, exact


def _graph(
    shown: Shown,
    threshold: float,
    prune: bool,
    merged: bool,
    notes: Annotations,
    result: CircuitFaithfulness | None,
) -> str:
    """The graph; the chosen node."""
    nodes = shown.view.nodes
    selected = state.read(state.Choice("node", nodes, ""))
    exact = None
    if result is not None:
        mean, low, high = result.faithfulness.values.tolist()
        exact = {"threshold": threshold, "mean": mean, "low": low, "high": high}
    what = "edges" if shown.loaded is None else "edges of the loaded circuit"
    threshold_graph(
        graph_text(shown.key, shown.view, shown.curve, what),
        key=_GRAPH,
        threshold=threshold,
        prune=prune,
        merged=merged,
        selected=selected,
        picked=state.read(picked_param(nodes)),
        notes=notes,
        exact=exact,
        on={
            "cut": lambda: state.write(t=told(_GRAPH, "cut")),
            "node": lambda: state.write(node=told(_GRAPH, "node")),
            "pin": partial(pin_told, _GRAPH),
            "pick": partial(pick_told, _GRAPH, nodes),
        },
    )
    left_out = shown.view.left_out
    if left_out:
        st.caption(f"The {left_out:,} weakest edges are not in the graph.")
    return selected


def _forget(names: tuple[str, ...]) -> None:
    state.write(**dict.fromkeys(names))


framed(draw)
