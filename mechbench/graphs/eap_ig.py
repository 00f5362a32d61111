"""EAP-IG's graph files, read and written.

A file is an object with ``cfg`` (``n_layers``, ``n_heads``, ``parallel_attn_mlp``, ``d_model``),
``nodes`` and ``edges``; an edge has a ``score`` and says whether it is ``in_graph``. There every
query head has keys and values of its own. Where heads share them, the edge into a group's keys
becomes one edge per query head: each gets an equal part of the score, so that the parts add up as
first-order effects do, and reading adds them up again.

Source: the format of hannamw/EAP-IG (Hanna et al. 2024).
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.topology import LOGITS, Graph


def to_eap_ig(circuit: Circuit, graph: Graph) -> str:
    """The circuit as EAP-IG's JSON, with every edge of the graph; unknown scores are 0.

    Raises:
        CircuitError: nodes per position, which that format does not have; an edge that is not in
            the graph; or a circuit whose model does not say ``d_model``.
    """
    _need_no_positions(graph)
    mask = circuit.mask(graph)
    if "d_model" not in circuit.model:
        raise CircuitError("EAP-IG's files need d_model, and the circuit's model does not say it.")
    copies, inside = _copies(graph), set(graph.names(mask))
    edges = {
        theirs: {
            "score": float(circuit.scores.get(name, 0.0)) / len(copies[name]),
            "in_graph": name in inside,
        }
        for name in graph.edge_names
        for theirs in copies[name]
    }
    touched = {
        end.partition("<")[0]
        for name, e in edges.items()
        if e["in_graph"]
        for end in name.split("->")
    }
    nodes = {name: {"in_graph": name in touched or name == LOGITS} for name in graph.nodes}
    cfg = {**_theirs(graph), "d_model": circuit.model["d_model"]}
    return json.dumps({"cfg": cfg, "nodes": nodes, "edges": edges}, allow_nan=False) + "\n"


def from_eap_ig(
    text: str,
    name: str,
    graph: Graph,
    *,
    model: Mapping[str, Any],
    task: Mapping[str, Any],
) -> Circuit:
    """The circuit of EAP-IG's JSON, with the scores of all its edges.

    Copies of an edge into shared keys or values are joined: their scores add up, and the edge is in
    the circuit if one of them is. ``source["joined"]`` says so where they disagree.

    Args:
        name: of the file, for messages and ``source``.
        graph: of the model that the circuit is about.
        model, task: what the file does not say; see ``Circuit``.

    Raises:
        CircuitError: not such a file, another model's, or an edge that does not exist.
    """
    _need_no_positions(graph)
    edges = _read_edges(text, name, graph)
    copies = _copies(graph)
    ours = {theirs: edge for edge in graph.edge_names for theirs in copies[edge]}
    inside: dict[str, list[bool]] = {}
    scores: dict[str, float] = {}
    for theirs, (score, in_graph) in edges.items():
        if theirs not in ours:
            if in_graph or score:
                graph.edge_index(theirs)  # raises, naming the nearest
                raise CircuitError(
                    f"{name!r} has the edge {theirs!r}, and EAP-IG's files name the keys and "
                    "values of query heads, such as 'a0.h1->a5.h3<k>'."
                )
            continue  # MLPs of an attention-only model are listed, and in no circuit
        inside.setdefault(ours[theirs], []).append(in_graph)
        scores[ours[theirs]] = scores.get(ours[theirs], 0.0) + score
    chosen = [edge for edge in graph.edge_names if any(inside.get(edge, ()))]
    disagreeing = [edge for edge in chosen if not all(inside[edge])]
    source: dict[str, Any] = {"file": name, "format": "EAP-IG"}
    if disagreeing:
        source["joined"] = (
            f"{len(disagreeing)} edges into shared keys or values are in the circuit for some of "
            f"the query heads only, and were taken whole: {', '.join(disagreeing[:8])}"
            f"{', ...' if len(disagreeing) > 8 else ''}."
        )
    return Circuit(
        edges=tuple(chosen), model=dict(model), task=dict(task), scores=scores, source=source
    )


def _read_edges(text: str, name: str, graph: Graph) -> dict[str, tuple[float, bool]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CircuitError(f"{name!r} is not JSON: {error}.") from error
    parts = ("cfg", "nodes", "edges")
    if not isinstance(data, dict) or not all(isinstance(data.get(p), dict) for p in parts):
        raise CircuitError(
            f"{name!r} is not a graph file of EAP-IG: expected an object with 'cfg', 'nodes' and "
            "'edges'."
        )
    differences = [
        f"{key} is {data['cfg'].get(key)!r} in the file and {value!r} in the model"
        for key, value in _theirs(graph).items()
        if data["cfg"].get(key, value) != value
    ]
    if differences:
        raise CircuitError(f"{name!r} is of another model: {'; '.join(differences)}.")
    try:
        return {
            edge: (_finite(said["score"]), bool(said["in_graph"]))
            for edge, said in data["edges"].items()
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CircuitError(
            f"{name!r} has an edge without 'score' and 'in_graph' ({error!r})."
        ) from error


def _finite(score: Any) -> float:
    value = float(score or 0.0)
    if not math.isfinite(value):
        raise ValueError(f"score {value}")
    return value


def _theirs(graph: Graph) -> dict[str, Any]:
    shape = graph.shape
    if shape is None:
        raise CircuitError(
            "EAP-IG's files describe plain transformers, and this model's graph has other parts: "
            "keep the circuit as mechbench's own JSON."
        )
    return {
        "n_layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "parallel_attn_mlp": shape.parallel,
    }


def _copies(graph: Graph) -> dict[str, list[str]]:
    """Each edge's names in a graph where heads have keys and values of their own."""
    readers = {
        r.name: [f"{head}<{r.name[-2]}>" for head in r.feeds] if r.name.endswith(">") else [r.name]
        for r in graph.readers
    }
    parts = (name.split("->") for name in graph.edge_names)
    return {f"{w}->{r}": [f"{w}->{theirs}" for theirs in readers[r]] for w, r in parts}


def _need_no_positions(graph: Graph) -> None:
    if graph.n_positions is not None:
        raise CircuitError(
            "EAP-IG's files have no positions, and this graph has nodes per position: use the "
            "graph over all positions."
        )
