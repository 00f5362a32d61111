"""Result of testing one circuit."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from mechbench.graphs.circuit import Circuit
from mechbench.results.base import Result

PARTS = ("full", "nothing", "circuit", "rest")


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitTests(Result):
    """Faithfulness, completeness, minimality and randomisation tests of one circuit.

    ``values`` (ablation part prompt answer) is the metric of the whole model ("full"), with no edge
    intact ("nothing"), with only the circuit intact ("circuit") and with only the circuit ablated
    ("rest"). A share is the mean metric counted from "nothing", over that of "full".

    ``faithfulness`` is the circuit's share and ``completeness`` that of the rest (0: nothing is
    left), both (estimate ablation). ``incompleteness`` (estimate ablation statistic) is the mean
    and the largest |F(C without K) - F(M without K)| over ``n_subsets`` random subsets K of the
    circuit's edges, of the circuit C and the whole model M; 0 is complete. The largest is biased
    upwards by noise.

    ``minimality`` (estimate ablation removed) is the share lost when one edge, or one node with all
    its edges (``removed_kind``), leaves the circuit; ``removable`` lists those that cost at most
    ``tolerance`` under every ablation.

    ``random`` (null ablation draw) is the faithfulness of random circuits with as many edges:
    "uniform" drawn evenly from all edges, "matched" with as many edges of every kind and layer
    pair as the circuit; ``matched_overlap`` is the share of the circuit's edges that a matched draw
    holds on average. ``p_value`` (null ablation) is (1 + draws as faithful) / (1 + draws).

    The rest describes the circuit, see ``circuit_of``. Estimate is mean, low, high of a 95 %
    bootstrap interval over prompts. ``held_out`` tells whether the prompts had no part in choosing
    the circuit.
    """

    edges: tuple[str, ...]
    nodes: tuple[str, ...]
    edge_scores: dict[str, float]
    roles: dict[str, str]
    selection: dict[str, Any]
    circuit_seed: int | None
    circuit_source: dict[str, Any]
    chosen_on: dict[str, Any]
    model_facts: dict[str, Any]
    n_positions: int | None
    n_graph_edges: int
    held_out: bool
    metric: str
    corruption: str
    values: xr.DataArray
    faithfulness: xr.DataArray
    completeness: xr.DataArray
    n_subsets: int
    incompleteness: xr.DataArray
    removed_kind: str
    tolerance: float
    minimality: xr.DataArray
    removable: tuple[str, ...]
    random: xr.DataArray
    matched_overlap: float
    p_value: xr.DataArray


def circuit_of(result: CircuitTests) -> Circuit:
    """The circuit that was tested, as it is written to a file."""
    return Circuit(
        edges=result.edges,
        model=result.model_facts,
        task=result.chosen_on,
        roles=result.roles,
        scores=result.edge_scores,
        selection=result.selection,
        seed=result.circuit_seed,
        source=result.circuit_source,
        n_positions=result.n_positions,
    )
