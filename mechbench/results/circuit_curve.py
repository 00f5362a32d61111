"""Result of measuring circuits of many sizes."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from mechbench.results.base import Result

SIGNED, ABSOLUTE = "signed", "absolute"
RANKINGS = (SIGNED, ABSOLUTE)
CPR, CMD, CPR_LOG, CMD_LOG = "CPR", "CMD", "CPR, log axis", "CMD, log axis"
AREAS = (CPR, CMD, CPR_LOG, CMD_LOG)


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitCurve(Result):
    """Faithfulness of the circuits that a rule makes of scores, by size.

    Faithfulness is (m(C) - m(nothing)) / (m(full) - m(nothing)) of mean metrics: the ratio of means
    over prompts, never the mean of ratios. 1 is the whole model, 0 no edge; above 1 the circuit
    leaves out edges that oppose the metric.

    ``circuit`` and ``complement`` (ranking size prompt answer) are the metric with only the circuit
    intact, and with all other edges intact instead; ``full`` and ``nothing`` (prompt answer) the
    two ends of the scale. ``size`` is the share of all ``n_graph_edges`` that the rule was asked
    for, ``asked`` (size) that number, and ``n_edges`` (ranking size) how many were in the circuit
    after pruning.

    ``faithfulness`` and ``complement_faithfulness`` are (estimate ranking size). ``random`` (draw
    size) is the faithfulness of random circuits: what the same rule makes of uniformly random
    scores, with ``random_n_edges`` (draw size) edges.

    ``areas`` (estimate ranking area): "CPR" is the area under faithfulness over the share of edges,
    "CMD" that under |1 - faithfulness|, on the linear axis as MIB has them. As far as its
    public threads tell, not confirmed, MIB reports CPR of circuits ranked by signed and CMD by
    absolute score; ``mib`` holds these two (estimate area).
    The variants "log axis" are over the logarithm of the share, divided by its length.
    ``random_areas`` is (draw area).

    Estimate is mean, low, high of a 95 % bootstrap interval over prompts; the circuits stay as
    they were chosen. ``held_out`` tells whether these prompts had no part in the scores, which came
    from ``chosen_on`` and ``scored_by``.
    """

    metric: str
    corruption: str
    ablation: str
    rule: str
    prune: bool
    normaliser: str
    scored_by: str
    exact_scores: bool
    chosen_on: dict[str, Any]
    held_out: bool
    n_graph_edges: int
    asked: xr.DataArray
    n_edges: xr.DataArray
    circuit: xr.DataArray
    complement: xr.DataArray
    full: xr.DataArray
    nothing: xr.DataArray
    faithfulness: xr.DataArray
    complement_faithfulness: xr.DataArray
    areas: xr.DataArray
    mib: xr.DataArray
    random: xr.DataArray
    random_n_edges: xr.DataArray
    random_areas: xr.DataArray
