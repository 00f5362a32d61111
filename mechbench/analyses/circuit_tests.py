"""Does a circuit stand up: faithful, complete, minimal, and better than random circuits."""

from pathlib import Path
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.chosen import held_out, pairs_of, scores_of
from mechbench.analyses.common.circuit_plan import MOST_SINGLE_EDGES, CircuitPlan
from mechbench.analyses.common.edge_sets import (
    ABLATIONS,
    Ablation,
    EdgeSets,
    ablation_source,
    check_pairs,
)
from mechbench.analyses.common.estimates import ESTIMATE, estimate_of, labelled, share
from mechbench.analyses.common.given_circuit import (
    Ranking,
    chosen_circuit,
    fewest_edges,
    numbers_to_try,
    read_circuit,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.random_circuits import NULLS
from mechbench.graphs.selection import Rule
from mechbench.graphs.topology import Graph
from mechbench.graphs.wiring import model_facts, wire
from mechbench.results.acdc import Acdc
from mechbench.results.circuit_tests import PARTS, CircuitTests
from mechbench.results.edge_scores import EdgeScores
from mechbench.shapes import ANSWER, PROMPT

_ROUNDING = 1e-9
STATISTICS = ("mean", "largest")


def circuit_tests(
    model,
    task,
    *,
    circuit: Circuit | CircuitTests | Acdc | Path | str | None = None,
    scores: EdgeScores | None = None,
    n_edges: int | None = None,
    target: float = 0.9,
    rule: Literal["top", "greedy"] = "greedy",
    rank: Ranking = "absolute",
    ablation: Ablation | Literal["all"] = "patching",
    corruption: str | None = None,
    n_random: int = 100,
    n_subsets: int = 20,
    tolerance: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitTests:
    """A circuit and its tests, each with intervals over prompts and random circuits beside it.

    Args:
        circuit: a circuit or its file; by default the one that ``rule`` makes of ``scores``.
        scores: by default EAP-IG's, computed here on the same prompts. ACDC's stand for the circuit
            that it left, unless ``n_edges`` is given.
        n_edges: how many edges the rule is asked for, before pruning; by default as few as make
            the circuit ``target`` faithful on these prompts, tried in steps of a quarter.
        rank: how edges are ordered: by "signed" score, by its "absolute" value, or "certain", by
            how far the interval of the score stays away from 0.
        ablation: what edges outside the circuit carry, as ``circuit_curve`` has it; "all" for each
            of the four in turn.
        corruption: by default the one that was scored with, or the task's.
        n_random: random circuits of each null. They are not pruned: an edge that is on no path
            from input to logits does nothing under patching, and pruning would leave them smaller.
        n_subsets: random subsets of the circuit's edges for incompleteness; the number of edges
            is drawn evenly, then the edges.
        tolerance: a part that costs at most this share is called removable.

    Raises:
        CircuitError: a circuit or scores of another model, an edge that does not exist, an empty
            circuit, or an impossible number of edges.
        TaskError: fewer than two prompts, or a metric that the ablation does not change, so that
            faithfulness has no scale.

    Source: Wang et al. 2022 for faithfulness, completeness and minimality, there of nodes and with
    subsets chosen otherwise; the nulls are our choice.
    """
    clock = Clock()
    ablations = ABLATIONS if ablation == "all" else (ablation,)
    _check(ablations, n_random, n_subsets, target, seed)
    if circuit is None and isinstance(scores, Acdc) and n_edges is None:
        circuit = scores
    given = None if circuit is None else read_circuit(circuit, model)
    scored_with = given.source.get("corruption") if given else scores and scores.corruption
    pairs = pairs_of(task, corruption, scored_with, seed=seed)
    known = given or scores
    check_pairs(pairs, known and known.n_positions)
    origin = given or scores_of(model, task, scores, seed=seed)
    graph = wire(model, n_positions=origin.n_positions).graph
    steps = Steps(_at_most(graph, n_random, n_subsets, len(ablations)), progress, checkpoint)
    sets = {
        name: EdgeSets(
            model,
            pairs,
            task.metric(),
            ablation=name,
            seed=seed,
            steps=steps,
            folder=None if checkpoint is None else Path(checkpoint),
            n_positions=origin.n_positions,
        )
        for name in ablations
    }
    found = _chosen(origin, sets[ablations[0]], n_edges, target, rule, rank)
    plan = CircuitPlan(graph, found, n_random, n_subsets, seed)
    measured = [
        torch.cat([torch.stack([s.full, s.nothing]), s.values(plan.masks)]) for s in sets.values()
    ]
    steps.finish()
    tests = _Tests(
        torch.stack(measured).double(), plan, ablations, pairs, task.metric().units, seed
    )
    minimality = tests.minimality()
    costs = minimality.sel({ESTIMATE: "mean"}).max("ablation")
    return CircuitTests(
        **_described(found, model),
        n_graph_edges=graph.n_edges,
        held_out=held_out(found.task, task),
        metric=task.metric().name,
        corruption=str(pairs.source.get("corruption", corruption or scored_with)),
        values=tests.part(PARTS),
        faithfulness=tests.shares("circuit"),
        completeness=tests.shares("rest"),
        n_subsets=n_subsets,
        incompleteness=tests.incompleteness(),
        removed_kind=plan.removed_kind,
        tolerance=tolerance,
        minimality=minimality,
        removable=tuple(str(n) for n in costs["removed"].values[costs.values <= tolerance]),
        random=tests.random(),
        matched_overlap=plan.matched_overlap,
        p_value=tests.p_value(),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _chosen(
    origin: Circuit | EdgeScores,
    sets: EdgeSets,
    n_edges: int | None,
    target: float,
    rule: Rule,
    rank: Ranking,
) -> Circuit:
    if isinstance(origin, Circuit):
        return origin
    how = None
    if n_edges is None:
        n_edges, how = fewest_edges(sets, origin, target=target, rule=rule, rank=rank)
    return chosen_circuit(origin, n=n_edges, how_many=how, rule=rule, rank=rank)


def _described(circuit: Circuit, model) -> dict[str, Any]:
    """The fields of the result that ``circuit_of`` reads."""
    return {
        "edges": circuit.edges,
        "nodes": circuit.nodes,
        "edge_scores": {e: float(circuit.scores[e]) for e in circuit.edges if e in circuit.scores},
        "roles": dict(circuit.roles),
        "selection": dict(circuit.selection),
        "circuit_seed": circuit.seed,
        "circuit_source": dict(circuit.source),
        "chosen_on": dict(circuit.task),
        "model_facts": {**model_facts(model), **circuit.model},
        "n_positions": circuit.n_positions,
    }


def _check(ablations, n_random: int, n_subsets: int, target: float, seed: int) -> None:
    for name in ablations:
        ablation_source(name, seed=seed)
    if n_random < 1 or n_subsets < 1 or not 0 < target <= 1:
        raise TaskError(
            f"n_random={n_random} and n_subsets={n_subsets} must be at least 1, and "
            f"target={target:g} above 0 and at most 1."
        )


def _at_most(graph: Graph, n_random: int, n_subsets: int, n_ablations: int) -> int:
    """An upper bound on the sets of edges that are evaluated."""
    removed = max(MOST_SINGLE_EDGES, len(graph.writers) + len(graph.readers))
    tests = 2 + removed + 2 * n_subsets + len(NULLS) * n_random
    return len(numbers_to_try(graph.n_edges)) + n_ablations * tests


class _Tests:
    """What the measured values say."""

    def __init__(self, values: Tensor, plan: CircuitPlan, ablations, pairs, units: str, seed: int):
        self._values, self._plan, self._units, self._seed = values, plan, units, seed
        self._ablations = {"ablation": ablations}
        self._prompts = {PROMPT: range(len(pairs)), ANSWER: pairs.answer_labels}
        ends = self.part(("nothing", "full")).mean(ANSWER)
        self._ends = [ends.sel(part=p, drop=True) for p in ("nothing", "full")]

    def part(self, names) -> xr.DataArray:
        values = torch.cat([self._values[:, self._plan.at[n]] for n in names], 1)
        return self._labelled(values, part=names)

    def _labelled(self, values: Tensor, **axis) -> xr.DataArray:
        coords = {**self._ablations, **axis, **self._prompts}
        return labelled(values, coords, units=self._units, meaning="metric")

    def _group(self, name: str, axis: str, labels) -> xr.DataArray:
        """Means over answers (ablation axis prompt)."""
        return self._labelled(self._values[:, self._plan.at[name]], **{axis: labels}).mean(ANSWER)

    def shares(self, part: str) -> xr.DataArray:
        values = self.part((part,)).sel(part=part, drop=True).mean(ANSWER)
        found = estimate_of(share, [values, *self._ends], seed=self._seed)
        return found.transpose(ESTIMATE, "ablation").assign_attrs(
            units="share", long_name=f"faithfulness of the {part}"
        )

    def minimality(self) -> xr.DataArray:
        whole = self.part(("circuit",)).sel(part="circuit", drop=True).mean(ANSWER)
        less = self._group("removed", "removed", self._plan.removed)

        def lost(whole, less, zero, one):
            return share(whole, zero, one) - share(less, zero, one)

        found = estimate_of(lost, [whole, less, *self._ends], seed=self._seed)
        return found.transpose(ESTIMATE, "ablation", "removed").assign_attrs(
            units="share", long_name=f"share lost without this {self._plan.removed_kind}"
        )

    def incompleteness(self) -> xr.DataArray:
        at = self._plan.at["model without"]
        labels = range(at.stop - at.start)
        sides = [self._group(f"{n} without", "subset", labels) for n in ("circuit", "model")]

        def apart(circuit, model, zero, one):
            distance = abs(share(circuit, zero, one) - share(model, zero, one))
            both = [distance.mean(dim="subset"), distance.max(dim="subset")]
            return xr.concat(both, dim="statistic").assign_coords(statistic=list(STATISTICS))

        found = estimate_of(apart, [*sides, *self._ends], seed=self._seed)
        return found.transpose(ESTIMATE, "ablation", "statistic").assign_attrs(
            units="share", long_name="|F(C without K) - F(M without K)|"
        )

    def random(self) -> xr.DataArray:
        at = self._plan.at[NULLS[0]]
        draws = range(at.stop - at.start)
        means = [self._group(null, "draw", draws).mean(PROMPT) for null in NULLS]
        joined = xr.concat(means, dim="null").assign_coords(null=list(NULLS))
        found = share(joined, *(end.mean(PROMPT) for end in self._ends))
        return found.transpose("null", "ablation", "draw").assign_attrs(
            units="share", long_name="faithfulness of random circuits"
        )

    def p_value(self) -> xr.DataArray:
        random = self.random()
        own = self.shares("circuit").sel({ESTIMATE: "mean"}, drop=True)
        p = (1 + (random >= own - _ROUNDING).sum("draw")) / (1 + random.sizes["draw"])
        return p.transpose("null", "ablation").assign_attrs(
            units="1", long_name="share of random circuits as faithful, (1 + count) / (1 + draws)"
        )
