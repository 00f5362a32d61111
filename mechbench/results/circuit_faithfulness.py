"""Result of measuring one circuit beside random circuits and its complement."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from mechbench.results.base import Result

PARTS = ("full", "nothing", "circuit", "complement")


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitFaithfulness(Result):
    """How much of the task a circuit does, and how much the rest of the model does.

    ``values`` (part prompt answer) is the metric of the whole model ("full"), with no edge intact
    ("nothing"), with only the circuit intact ("circuit") and with only the circuit ablated
    ("complement"). A share is the mean metric counted from "nothing", over that of "full".

    ``faithfulness`` is the circuit's share and ``complement`` that of all other edges, both
    (estimate): mean, low, high of a 95 % bootstrap interval over prompts. ``random`` (null draw) is
    the faithfulness of random circuits with as many edges: "uniform" drawn evenly from all edges,
    "matched" with as many edges of every kind and layer pair; ``random_summary`` (null statistic)
    is its mean, least and greatest, and ``matched_overlap`` the share of the circuit's edges that a
    matched draw holds on average. ``p_value`` (null) is (1 + draws as faithful) / (1 + draws).

    ``selection`` is the rule that chose the edges, with all its options. ``held_out`` tells whether
    the prompts had no part in choosing them; ``chosen_on`` says which did.
    """

    edges: tuple[str, ...]
    edge_scores: dict[str, float]
    roles: dict[str, str]
    selection: dict[str, Any]
    circuit_source: dict[str, Any]
    chosen_on: dict[str, Any]
    model_facts: dict[str, Any]
    n_positions: int | None
    n_graph_edges: int
    held_out: bool
    metric: str
    corruption: str
    ablation: str
    values: xr.DataArray
    faithfulness: xr.DataArray
    complement: xr.DataArray
    random: xr.DataArray
    random_summary: xr.DataArray
    matched_overlap: float
    p_value: xr.DataArray
