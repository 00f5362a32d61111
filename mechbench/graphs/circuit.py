"""Circuits: sets of edges with what is known about them, as JSON."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from mechbench.errors import CircuitError, did_you_mean
from mechbench.graphs.annotations import Annotations, annotations_from
from mechbench.graphs.topology import Graph

FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Circuit:
    """A set of edges of one model's graph, for one task.

    Attributes:
        edges: names, as in ``graph.edge_names``.
        model: ``name``, ``revision``, and the facts of the graph's shape; see ``model_facts``.
        task: ``name`` and JSON-able provenance of the task.
        roles: node name to role (``"letter mover"``).
        scores: edge name to score; positive means that corrupting the edge lowers the metric.
        selection: the rule that chose the edges, with all its options.
        seed: of whatever was drawn to find it.
        source: a paper, or the run and method that found it.
        n_positions: where edges belong to positions (``a0.h1->m2@7``), how many there are.
        annotations: pinned nodes, labels and groups that somebody wrote on it.
    """

    edges: tuple[str, ...]
    model: Mapping[str, Any]
    task: Mapping[str, Any]
    roles: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    n_positions: int | None = None
    annotations: Annotations = field(default_factory=Annotations)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that its edges touch, in order of appearance; shared keys as ``a5.g1``."""
        return nodes_of(self.edges)

    def mask(self, graph: Graph) -> np.ndarray:
        """The circuit in the shape of ``graph.exists``.

        Raises:
            CircuitError: an edge that the graph does not have.
        """
        return graph.mask(self.edges)

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raises CircuitError, naming every difference, where the circuit is of another model.

        Facts that one side does not have are not compared.
        """
        differences = [
            f"{key} is {value!r} in the circuit and {facts[key]!r} in the model"
            for key, value in self.model.items()
            if key in facts and facts[key] != value
        ]
        if differences:
            raise CircuitError(
                f"The circuit is of another model: {'; '.join(differences)}. "
                "Load the model that it was found on, or give a circuit of this one."
            )

    def to_json(self) -> str:
        """The circuit as text; ``circuit_from_json`` reads it."""
        data = {"format": FORMAT, "nodes": self.nodes, **asdict(self)}
        return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def nodes_of(edges: tuple[str, ...]) -> tuple[str, ...]:
    """The nodes that edges touch, in order of appearance."""
    ends = (end for edge in edges for end in edge.partition("@")[0].split("->"))
    return tuple(dict.fromkeys(end.partition("<")[0] for end in ends))


def circuit_from_json(text: str, name: str) -> Circuit:
    """A circuit from its JSON; ``name`` of the file is for messages.

    Raises:
        CircuitError: not a circuit of this format; what is missing, unknown or of another type is
            named.
    """
    data = _read(text, name)
    if not isinstance(data, dict) or data.get("format") != FORMAT or "edges" not in data:
        raise CircuitError(
            f"{name!r} is not a circuit file: expected an object with 'format': {FORMAT} and "
            "'edges', as mechbench writes it."
        )
    known = {f.name for f in fields(Circuit)}
    given = {key: value for key, value in data.items() if key not in ("format", "nodes")}
    for key in given:
        if key not in known:
            raise CircuitError(f"{name!r} has an unknown entry {key!r}. {did_you_mean(key, known)}")
    missing = {"edges", "model", "task"} - set(given)
    if missing:
        raise CircuitError(f"{name!r} lacks {', '.join(sorted(missing))}.")
    for key, (fits, expected) in _TYPES.items():
        if key in given and not fits(given[key]):
            raise CircuitError(f"{key!r} of {name!r} must be {expected}.")
    notes = annotations_from(given.pop("annotations", {}), name)
    return Circuit(**{**given, "edges": tuple(given["edges"]), "annotations": notes})


def _read(text: str, name: str) -> Any:
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CircuitError(f"{name!r} is not JSON: {reason}.") from error
    return data


def _edge_list(given: Any) -> bool:
    texts = isinstance(given, list) and all(isinstance(edge, str) for edge in given)
    return texts and len(set(given)) == len(given)


def _texts(given: Any) -> bool:
    return isinstance(given, dict) and all(isinstance(text, str) for text in given.values())


def _numbers(given: Any) -> bool:
    if not isinstance(given, dict):
        return False
    values = [value for value in given.values() if type(value) in (int, float)]
    return len(values) == len(given) and all(map(_is_finite, values))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_object(given: Any) -> bool:
    return isinstance(given, dict)


def _whole_or_none(given: Any) -> bool:
    return given is None or type(given) is int


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "edges": (_edge_list, "a list of the names of different edges"),
    "model": (_is_object, "an object"),
    "task": (_is_object, "an object"),
    "roles": (_texts, "an object of texts, by node"),
    "scores": (_numbers, "an object of finite numbers, by edge"),
    "selection": (_is_object, "an object"),
    "seed": (_whole_or_none, "a whole number or null"),
    "source": (_is_object, "an object"),
    "n_positions": (_whole_or_none, "a whole number or null"),
}
