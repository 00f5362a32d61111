"""A circuit as a graph panel: nodes in the residual stream's order, edges by sign and size."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechbench.figures.graph import Edge, Graph, Node

MOST_EDGES = 200
INPUT, LOGITS = "input", "logits"
_PART = re.compile(r"([am])(\d+)(?:\.([hg])(\d+))?")
_KINDS = (
    ("head", r"a\d+\.h\d+"),
    ("MLP", r"m\d+"),
    ("expert", r"m\d+\.e\d+"),
    ("shared expert", r"m\d+\.shared"),
    ("ring", r"m\d+\.r\d+"),
    ("routed block", r"b\d+"),
)


def circuit_graph(
    edges: Sequence[str],
    scores: Mapping[str, float],
    facts: Mapping[str, Any],
    *,
    roles: Mapping[str, str] | None = None,
    score_title: str = "score",
    most_edges: int = MOST_EDGES,
) -> Graph:
    """The strongest edges of a circuit, coloured by sign.

    Edges of several positions are added up. An edge into keys or values that heads share is drawn
    to each of the group's heads that the circuit holds. Edges without a score count as 0.

    Args:
        edges: names such as ``a0.h1->a5.h3<q>``.
        scores: by the same names.
        facts: of the model, as ``model_facts`` gives them: ``n_layers``, ``n_heads``,
            ``n_kv_heads``, ``parallel``, and ``stages`` and ``feeds`` where it has other parts.
        roles: node name to role, which then decides its colour.
        most_edges: how many are drawn.
    """
    writers = {edge.partition("->")[0] for edge in edges}
    summed: dict[tuple[str, str, str], float] = {}
    for edge in edges:
        source, _, reader = edge.partition("@")[0].partition("->")
        target, _, port = reader.rstrip(">").partition("<")
        for owner in _owners(target, writers, facts):
            key = (source, owner, port)
            summed[key] = summed.get(key, 0.0) + float(scores.get(edge, 0.0))
    strongest = sorted(summed, key=lambda key: -abs(summed[key]))[:most_edges]
    names = sorted({end for key in strongest for end in key[:2]}, key=lambda n: _order(n, facts))
    return Graph(
        nodes=tuple(
            Node(id=n, label=n, rank=_rank(n, facts), group=(roles or {}).get(n, _kind(n)))
            for n in names
        ),
        edges=tuple(
            Edge(source=s, target=t, port=p, score=summed[s, t, p]) for s, t, p in strongest
        ),
        rank_labels=dict(_rank_labels(facts)),
        title="the circuit",
        score_title=score_title,
    )


def fed_by(target: str, facts: Mapping[str, Any]) -> list[str]:
    """The nodes that a reader (named without its port) feeds: itself, or those that share it."""
    if target in facts.get("feeds", {}):
        return list(facts["feeds"][target])
    match = _PART.fullmatch(target)
    if match is None or match[3] != "g":
        return [target]
    size = facts["n_heads"] // facts["n_kv_heads"]
    first = int(match[4]) * size
    return [f"a{match[2]}.h{h}" for h in range(first, first + size)]


def _owners(target: str, writers: set[str], facts: Mapping[str, Any]) -> list[str]:
    """Those that the reader feeds; of several, those that write something in the circuit."""
    fed = fed_by(target, facts)
    return fed if len(fed) == 1 else [node for node in fed if node in writers] or fed


def _rank(name: str, facts: Mapping[str, Any]) -> int:
    if name == INPUT:
        return 0
    if "stages" in facts:
        holding = (i for i, stage in enumerate(facts["stages"]) if name in stage)
        return next(holding, len(facts["stages"]))
    match = _PART.fullmatch(name)
    if match is None:
        return 2 * facts["n_layers"] + 1
    after = match[1] == "m" and not facts["parallel"]
    return 2 * int(match[2]) + 1 + after


def _order(name: str, facts: Mapping[str, Any]) -> tuple[int, int]:
    rank = _rank(name, facts)
    if "stages" in facts and rank < len(facts["stages"]):
        return rank, list(facts["stages"][rank]).index(name)
    match = _PART.fullmatch(name)
    return rank, int(match[4] or 0) if match else 0


def _kind(name: str) -> str:
    return next((kind for kind, pattern in _KINDS if re.fullmatch(pattern, name)), name)


def _rank_labels(facts: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    yield 0, INPUT
    if "stages" in facts:
        for rank, stage in enumerate(facts["stages"][1:], start=1):
            number = re.search(r"\d+", stage[0])
            plural = "s" * (len(stage) > 1)
            yield rank, f"{_kind(stage[0])}{plural} {number[0] if number else ''}".strip()
        yield len(facts["stages"]), LOGITS
        return
    for layer in range(facts["n_layers"]):
        if facts["parallel"]:
            yield 2 * layer + 1, f"layer {layer}"
        else:
            yield 2 * layer + 1, f"heads {layer}"
            yield 2 * layer + 2, f"MLP {layer}"
    yield 2 * facts["n_layers"] + 1, LOGITS
