"""What discovery found, in a few sentences and a table."""

from collections.abc import Callable, Mapping
from typing import Any

from mechbench.experiments.estimates import with_interval
from mechbench.experiments.tables import TextTable
from mechbench.results.circuit_agreement import BY_CHANCE, FOUND, CircuitAgreement
from mechbench.results.circuit_curve import CMD, CPR, CircuitCurve
from mechbench.results.circuit_tests import CircuitTests
from mechbench.results.edge_scores import EdgeScores

_SHOWN = 15


def edge_table(result: CircuitTests) -> TextTable:
    """The circuit's strongest edges."""
    edges = sorted(result.edges, key=lambda e: -abs(result.edge_scores.get(e, 0.0)))
    lost = _lost_by_edge(result)
    rows = tuple(
        (edge, f"{result.edge_scores[edge]:.3g}" if edge in result.edge_scores else "", lost(edge))
        for edge in edges[:_SHOWN]
    )
    hidden = len(edges) - len(rows)
    more = f" {hidden} more edges are in the circuit." if hidden else ""
    return TextTable(
        ("edge", f"score ({result.values.attrs['units']})", "share lost without it"),
        rows,
        title=(
            f"Circuit: {len(result.edges)} of {result.n_graph_edges} edges, "
            f"{len(result.nodes)} nodes"
        ),
        note=(
            "Score: how much the metric falls when the edge is corrupted, as the method estimates "
            f"it; negative edges oppose the metric. {_prompts(result)}{more}"
        ),
    )


def score_line(result: EdgeScores) -> str:
    """What was scored, and what the scores are."""
    kind = "measured exactly" if result.exact else "estimated from gradients"
    clean, corrupt = (float(v.mean()) for v in (result.clean, result.corrupt))
    return (
        f"Scores: {result.scores.sizes['edge']} edges by {result.method}, {kind}, on "
        f"{result.provenance.n_prompts} prompts; {result.metric} is {clean:.2f} on clean and "
        f"{corrupt:.2f} on corrupted prompts."
    )


def lines_of_tests(result: CircuitTests) -> list[str]:
    """Faithfulness, completeness and minimality with their controls, by ablation."""
    lines = []
    for ablation in (str(a) for a in result.faithfulness["ablation"].values):
        at = {"ablation": ablation}
        nulls = "; ".join(_null(result, str(n), at) for n in result.random["null"].values)
        left = float(result.incompleteness.sel({**at, "estimate": "mean", "statistic": "mean"}))
        lines += [
            f"Faithfulness (1 is the whole model), {ablation}: "
            f"{with_interval(result.faithfulness.sel(at))} on {_prompts(result)} {nulls}.",
            f"Completeness (0 is complete), {ablation}: "
            f"{with_interval(result.completeness.sel(at))} is left without the circuit; mean "
            f"incompleteness over {result.n_subsets} random subsets {left:.2f}.",
        ]
    n_parts = result.minimality.sizes["removed"]
    lines.append(
        f"Minimality: {len(result.removable)} of {n_parts} {result.removed_kind}s can be left out "
        f"alone at a cost of at most {result.tolerance:.0%}."
    )
    return lines


def curve_line(result: CircuitCurve) -> str:
    """MIB's two numbers, each with the ranking it belongs to and its control."""
    random = result.random_areas.mean("draw")
    parts = []
    for area, ranking in ((CPR, "signed"), (CMD, "absolute")):
        parts.append(
            f"{area} {with_interval(result.mib.sel(area=area))} ({ranking} ranking; random "
            f"{float(random.sel(area=area)):.2f})"
        )
    return f"Over circuits of {result.asked.sizes['size']} sizes, {result.ablation}: " + ", ".join(
        parts
    )


def agreement_lines(result: CircuitAgreement) -> list[str]:
    """Intersection over union at each level, beside what random sets would share."""
    sides = " and ".join(_side(side) for side in (result.one, result.other))
    parts = []
    for level in result.levels:
        found, chance = (float(result.iou.sel(level=level, kind=k)) for k in (FOUND, BY_CHANCE))
        p = float(result.p_value.sel(level=level))
        parts.append(f"{level} {found:.2f} (by chance {chance:.2f}, p = {p:.1g})")
    return [f"Agreement of {sides}, intersection over union: {', '.join(parts)}."]


def _side(facts: Mapping[str, Any]) -> str:
    how = facts.get("method") or facts.get("heads found by") or "the given circuit"
    return f"{how} ({facts['n_heads']} heads)" if "n_heads" in facts else str(how)


def _null(result: CircuitTests, null: str, at: dict[str, str]) -> str:
    drawn = result.random.sel({"null": null, **at})
    low, high = (float(drawn.quantile(q)) for q in (0.025, 0.975))
    p = float(result.p_value.sel({"null": null, **at}))
    return (
        f"{drawn.sizes['draw']} {null} random circuits of its size {float(drawn.mean()):.2f} "
        f"[{low:.2f}, {high:.2f}], p = {p:.3f}"
    )


def _prompts(result: CircuitTests) -> str:
    seen = "that did not choose it" if result.held_out else "that also chose it"
    return f"{result.provenance.n_prompts} prompts {seen}."


def _lost_by_edge(result: CircuitTests) -> Callable[[str], str]:
    """The share lost without an edge, as text; empty where it was not removed alone."""
    removed = result.minimality.isel(ablation=0)
    known = {str(name) for name in removed["removed"].values}
    return lambda edge: with_interval(removed.sel(removed=edge)) if edge in known else ""
