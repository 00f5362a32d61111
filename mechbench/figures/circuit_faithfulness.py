"""A circuit as a graph, and its faithfulness beside random circuits and the rest of the model."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mechbench.figures.circuit_graph import MOST_EDGES, circuit_graph
from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.graph import Graph
from mechbench.figures.spec import Bars, FigureSpec, Reference, Series
from mechbench.results.circuit_faithfulness import CircuitFaithfulness


def circuit_faithfulness_figure(
    result: CircuitFaithfulness,
    *,
    labels: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
) -> FigureSpec:
    """The circuit, and bars of its faithfulness, its complement's and random circuits'.

    Args:
        labels: nodes that are not called by their names.
        roles: the groups of nodes, which give colours; by default those of the circuit.
    """
    return FigureSpec(
        name="circuit-faithfulness",
        title=f"A circuit of {len(result.edges):,} edges: faithfulness {_mean(result):.3g}",
        caption=_caption(result),
        panels=(_graph(result, labels or {}, roles or result.roles), _bars(result)),
        provenance=provenance_of(result),
    )


def rule_in_words(result: CircuitFaithfulness) -> str:
    """How the circuit was chosen."""
    said = {key: value for key, value in result.selection.items() if value is not None}
    method = result.circuit_source.get("method")
    by = f"Edges scored by {method}. " if method else ""
    if not said:
        return f"{by}No rule is known: the edges were given."
    if said.get("rule") == "threshold":
        pruned = (
            "; edges on no path from input to logits are left out"
            if said.get("prune")
            else "; not pruned"
        )
        rule = f"|score| ≥ {said['threshold']:g}{pruned}"
    else:
        rule = f"rule {said.get('rule')!r} by {said.get('rank', 'its own')} score"
    also = f", then |score| ≥ {said['cut_at']:g}" if "cut_at" in said else ""
    return f"{by}Chosen by {rule}{also}."


def _graph(
    result: CircuitFaithfulness, labels: Mapping[str, str], roles: Mapping[str, str]
) -> Graph:
    panel = circuit_graph(result.edges, result.edge_scores, result.model_facts, roles=roles)
    nodes = tuple(replace(node, label=labels.get(node.id, node.label)) for node in panel.nodes)
    return replace(panel, nodes=nodes)


def _bars(result: CircuitFaithfulness) -> Bars:
    estimates = [result.faithfulness, result.complement]
    shares = [e.sel(estimate=["mean", "low", "high"]).values for e in estimates]
    random = [result.random_summary.sel(null=n).values for n in result.random_summary["null"]]
    mean, low, high = np.array([*shares, *random]).T
    nulls = (f"random, {null}" for null in result.random_summary["null"].values)
    return Bars(
        groups=("circuit", "all but the circuit", *nulls),
        series=(Series(label="mean; interval or range", values=mean, low=low, high=high),),
        references=(Reference(value=1.0, label="whole model"),),
        title="share of the metric",
        y_title="faithfulness",
    )


def _caption(result: CircuitFaithfulness) -> str:
    drawn = f" The {MOST_EDGES} strongest are drawn." if len(result.edges) > MOST_EDGES else ""
    signs = "Red edges help the metric, blue ones oppose it." if result.edge_scores else ""
    p = ", ".join(f"p = {float(v):.3g} ({v['null'].item()})" for v in result.p_value)
    split = (
        "Other prompts chose the circuit."
        if result.held_out
        else "The same prompts chose the circuit, or it is not known which did, so nothing here is "
        "held out."
    )
    return (
        f"{len(result.edges):,} of {result.n_graph_edges:,} edges.{drawn} {signs} "
        f"{rule_in_words(result)} All others are ablated ({result.ablation}, corruption "
        f"{result.corruption}). Faithfulness of the mean {result.metric}: "
        f"{_interval(result.faithfulness.values)}; of all other edges "
        f"{_interval(result.complement.values)}. Random circuits: {result.random.sizes['draw']} of "
        "each null with as many edges, mean and range, drawn from all edges (uniform) or with as "
        f"many of every kind and layer pair (matched, which share {result.matched_overlap:.0%} of "
        f"the circuit's edges); {p}. {split} " + evidence(result)
    )


def _mean(result: CircuitFaithfulness) -> float:
    return float(result.faithfulness.sel(estimate="mean"))


def _interval(values: np.ndarray) -> str:
    mean, low, high = values
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
