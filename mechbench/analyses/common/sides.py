"""The two sides of a comparison of circuits, in whatever form they are given."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mechbench.analyses.common.chosen import check_model
from mechbench.analyses.common.given_circuit import (
    chosen_circuit,
    kept_circuit,
    read_circuit,
)
from mechbench.analyses.common.heads import head_label, some_heads
from mechbench.errors import CircuitError
from mechbench.graphs.circuit import Circuit, circuit_from_json
from mechbench.graphs.eap_ig import from_eap_ig
from mechbench.graphs.selection import Rank, Rule
from mechbench.graphs.topology import INPUT, LOGITS, Graph
from mechbench.graphs.wiring import model_facts
from mechbench.results.acdc import Acdc
from mechbench.results.circuit_search import CircuitSearch
from mechbench.results.circuit_tests import CircuitTests
from mechbench.results.edge_scores import EdgeScores
from mechbench.results.files import read_text

Given: TypeAlias = Circuit | CircuitTests | CircuitSearch | EdgeScores | Path | str | Sequence[str]
_HEAD = re.compile(r"a(\d+)\.h(\d+)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One circuit.

    Attributes:
        heads: as "9.9".
        edges, nodes: None where only heads are known. Nodes leave out input and logits.
        scores: of edges, for a ranking; None where there are none.
        facts: what it is, for the result.
    """

    heads: frozenset[str]
    edges: frozenset[str] | None
    nodes: frozenset[str] | None
    scores: Mapping[str, float] | None
    facts: dict[str, Any]


def side(given: Given, model, graph: Graph, *, n_edges: int, rule: Rule, rank: Rank) -> Side:
    """A circuit of this model, however it is given.

    Raises:
        CircuitError: another model's, an edge that does not exist, or a file that is no circuit.
        UnsupportedHookError: a head that the model does not have.
        StoreError: a file that cannot be read.
    """
    if isinstance(given, EdgeScores):
        return _from_scores(given, model, graph, n_edges, rule, rank)
    if isinstance(given, CircuitSearch):
        return _from_heads(given.heads, model, {"heads found by": "circuit_search"})
    if isinstance(given, str | Path):
        found = _read(Path(given), model, graph)
        if isinstance(found, _HeadFile):
            return _from_heads(found.heads, model, found.facts)
        given = found
    if isinstance(given, Circuit | CircuitTests):
        circuit = read_circuit(given, model)
        return _from_circuit(circuit, graph, circuit.scores or None)
    return _from_heads(given, model, {"heads": "given"})


@dataclass(frozen=True)
class _HeadFile:
    heads: tuple[str, ...]
    facts: dict[str, Any]


def _read(path: Path, model, graph: Graph) -> Circuit | _HeadFile:
    """A circuit file of ours or EAP-IG's, or a published circuit of heads (its folder will do)."""
    path = path / "circuit.json" if path.is_dir() else path
    text = read_text(path, "circuit")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise CircuitError(f"{path.name!r} is not JSON: {error}.") from error
    if isinstance(data, dict) and "heads" in data:
        about = data.get("model", {})
        keys = ("n_layers", "n_heads", "d_model")
        check_model({key: about[key] for key in keys if key in about}, model)
        return _HeadFile(
            tuple(entry["head"] for entry in data["heads"]), {"published": data.get("name", "")}
        )
    if isinstance(data, dict) and "cfg" in data:
        return from_eap_ig(text, path.name, graph, model=model_facts(model), task={})
    return circuit_from_json(text, path.name)


def _from_scores(
    given: EdgeScores, model, graph: Graph, n_edges: int, rule: Rule, rank: Rank
) -> Side:
    check_model(given.model_facts, model)
    if isinstance(given, Acdc):
        circuit = kept_circuit(given)
    else:
        circuit = chosen_circuit(given, n=n_edges, rule=rule, rank=rank)
    values = given.scores.values.tolist()
    return _from_circuit(circuit, graph, dict(zip(given.graph().edge_names, values, strict=True)))


def _from_circuit(circuit: Circuit, graph: Graph, scores: Mapping[str, float] | None) -> Side:
    circuit.mask(graph)  # every edge exists
    writers = {w.name for w in graph.writers}
    nodes = frozenset(n for n in circuit.nodes if n in writers and n not in (INPUT, LOGITS))
    return Side(
        heads=frozenset(f"{m[1]}.{m[2]}" for n in nodes if (m := _HEAD.fullmatch(n))),
        edges=frozenset(circuit.edges),
        nodes=nodes,
        scores=scores,
        facts={
            **circuit.source,
            **circuit.selection,
            "n_edges": len(circuit.edges),
            "chosen_on": dict(circuit.task),
        },
    )


def _from_heads(heads: Sequence[Any], model, facts: dict[str, Any]) -> Side:
    names = frozenset(head_label(h) for h in some_heads(heads, model))
    return Side(
        heads=names, edges=None, nodes=None, scores=None, facts={**facts, "n_heads": len(names)}
    )


def ranking(scores: Mapping[str, float], rank: str, *, heads: bool) -> list[str]:
    """Edges, or heads by the strongest edge that leaves them, best first."""
    names = list(scores)
    values = np.array([scores[name] for name in names])
    order = np.argsort(-np.abs(values) if rank == "absolute" else -values, kind="stable")
    edges = [names[i] for i in order]
    if not heads:
        return edges
    matches = (_HEAD.fullmatch(edge.partition("->")[0]) for edge in edges)
    return list(dict.fromkeys(f"{m[1]}.{m[2]}" for m in matches if m))
