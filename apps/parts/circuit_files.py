"""Circuits and notes that the address names: small files of the store, under ids of their text."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import streamlit as st

from apps.common import state
from apps.common.settings import settings
from apps.common.text import plain
from mechbench.errors import CircuitError, MechbenchError
from mechbench.graphs.annotations import Annotations, annotations_from
from mechbench.graphs.circuit import Circuit, circuit_from_json
from mechbench.graphs.eap_ig import from_eap_ig, to_eap_ig
from mechbench.graphs.shaped import shaped
from mechbench.results.edge_scores import EdgeScores
from mechbench.results.kept_texts import ID_LENGTH, keep_text, kept_text

CIRCUIT, NOTES = state.Hex("circuit", ID_LENGTH), state.Hex("notes", ID_LENGTH)
MOST_MEGABYTES = 10


def circuit_file(circuit_id: str) -> Path:
    """Where a loaded circuit is kept."""
    return settings().store / "circuits" / f"{circuit_id}.json"


def named_circuit() -> Circuit | None:
    """The circuit that the address names; a warning and None where it cannot be read."""
    circuit_id = state.read(CIRCUIT)
    if not circuit_id:
        return None
    try:
        return _circuit_at(circuit_file(circuit_id))
    except MechbenchError as error:
        st.warning(plain(str(error)))
        return None


@st.cache_resource(show_spinner=False, max_entries=16)
def _circuit_at(path: Path) -> Circuit:
    return circuit_from_json(kept_text(path.stem, path.parent, "circuit"), path.name)


def named_notes() -> Annotations:
    """The notes that the address names; a warning and none where they cannot be read."""
    notes_id = state.read(NOTES)
    if not notes_id:
        return Annotations()
    try:
        text = kept_text(notes_id, _notes_folder(), "file of notes")
        return annotations_from(json.loads(text), notes_id)
    except (MechbenchError, ValueError) as error:
        st.warning(plain(f"The notes cannot be read: {error}"))
        return Annotations()


def keep_notes(notes: Annotations) -> None:
    """Keeps the notes in a file, which the address then names."""
    empty = notes == Annotations()
    text = json.dumps(asdict(notes), ensure_ascii=False, sort_keys=True)
    state.write(notes=None if empty else keep_text(text, _notes_folder()))


def keep_circuit(circuit: Circuit) -> None:
    """Keeps a loaded circuit and its notes, which the address then names."""
    bare = replace(circuit, annotations=Annotations())
    circuit_id = keep_text(bare.to_json(), circuit_file("x").parent)
    state.write(circuit=circuit_id, t=None, node=None, picked=None)
    keep_notes(circuit.annotations)


def read_upload(data: bytes, name: str, scores: EdgeScores | None) -> Circuit:
    """The circuit in an uploaded file: the project's own JSON, or EAP-IG's of the scored model.

    Raises:
        CircuitError: neither; what is wrong is named.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise CircuitError(f"{name!r} is not UTF-8 text.") from None
    try:
        theirs = "cfg" in json.loads(text)
    except (ValueError, TypeError, RecursionError):
        theirs = False
    if not theirs:
        return circuit_from_json(text, name)
    if scores is None:
        raise CircuitError(
            f"{name!r} is a graph file of EAP-IG, which does not say its model: score the edges of "
            "that model first, and load the file then."
        )
    graph = shaped(scores.graph(), scores.model_facts)
    return from_eap_ig(text, name, graph, model=scores.model_facts, task={})


def eap_ig_text(circuit: Circuit, scores: EdgeScores) -> str:
    """The circuit as EAP-IG's JSON, with the scores of all edges of its model.

    Raises:
        CircuitError: not a plain transformer.
    """
    edges, values = scores.graph().edge_names, scores.scores.values.tolist()
    every = replace(circuit, scores=dict(zip(edges, values, strict=True)))
    return to_eap_ig(every, shaped(scores.graph(), scores.model_facts))


def _notes_folder() -> Path:
    return settings().store / "notes"
