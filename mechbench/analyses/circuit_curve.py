"""How much of the task circuits of growing size do: faithfulness curves, CPR and CMD."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.chosen import facts_of_scores, held_out, pairs_of, scores_of
from mechbench.analyses.common.edge_sets import Ablation, EdgeSets, ablation_source, check_pairs
from mechbench.analyses.common.estimates import ESTIMATE, estimate_of, labelled, share
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import CircuitError
from mechbench.graphs.selection import Selected, select
from mechbench.graphs.sizes import MIB_SIZES, area, check_sizes, edges_at
from mechbench.results.circuit_curve import (
    ABSOLUTE,
    AREAS,
    CMD,
    CPR,
    RANKINGS,
    SIGNED,
    CircuitCurve,
)
from mechbench.results.edge_scores import EdgeScores
from mechbench.shapes import ANSWER, PROMPT

NORMALISER = "(m(C) - m(nothing)) / (m(full) - m(nothing)), a ratio of means over prompts"


def circuit_curve(
    model,
    task,
    *,
    scores: EdgeScores | None = None,
    sizes: Sequence[float] = MIB_SIZES,
    rule: Literal["top", "greedy"] = "top",
    prune: bool = True,
    ablation: Ablation = "patching",
    corruption: str | None = None,
    n_random: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitCurve:
    """Faithfulness of the circuits of each size, ranked by signed and by absolute score.

    Every size costs one forward pass for the circuit and one for its complement, in both rankings,
    and one per random circuit.

    Args:
        scores: by default EAP-IG's, computed here on the same prompts, which are then not held out.
        sizes: shares of all edges, growing; the number of edges is rounded down.
        rule: "top", the best edges; or "greedy", grown backwards from the logits.
        prune: leave out edges that lie on no path from input to logits.
        ablation: what edges outside the circuit carry: "patching", the corrupted prompt's
            activation; "zero"; "mean" over the corrupted prompts, position by position; or
            "resample", that of another corrupted prompt.
        corruption: by default the one that was scored with, or the task's.
        n_random: random circuits per size.

    Raises:
        CircuitError: scores of another model, an unknown rule, or sizes that do not grow.
        TaskError: fewer than two prompts, no random circuit, or a metric that the ablation does not
            change, so that faithfulness has no scale.

    Source: CPR and CMD of MIB (Mueller et al. 2025); random circuits, complement, intervals and the
    logarithmic axis are our choice.
    """
    clock = Clock()
    check_sizes(sizes)
    ablation_source(ablation, seed=seed)
    if rule not in ("top", "greedy") or n_random < 1:
        raise CircuitError(
            f"rule={rule!r} must be 'top' or 'greedy', and n_random={n_random} at least 1."
        )
    pairs = pairs_of(task, corruption, scores and scores.corruption, seed=seed)
    check_pairs(pairs, scores and scores.n_positions)
    scores = scores_of(model, task, scores, seed=seed)
    steps = Steps((4 + n_random) * len(sizes), progress, checkpoint)
    sets = EdgeSets(
        model,
        pairs,
        task.metric(),
        ablation=ablation,
        seed=seed,
        steps=steps,
        folder=None if checkpoint is None else Path(checkpoint),
        n_positions=scores.n_positions,
    )
    curve = _Curve(sets, sizes, rule, prune)
    chosen_on = facts_of_scores(scores)
    by_rank = {r: curve.circuits(scores.scores.values, r) for r in RANKINGS}
    draws = [curve.random(seed, draw) for draw in range(n_random)]
    found = _measured(curve, by_rank, draws, task.metric().units, pairs, seed)
    steps.finish()
    return CircuitCurve(
        metric=task.metric().name,
        corruption=str(pairs.source.get("corruption", corruption or scores.corruption)),
        ablation=ablation,
        rule=rule,
        prune=prune,
        normaliser=NORMALISER,
        scored_by=scores.method,
        exact_scores=scores.exact,
        chosen_on=chosen_on,
        held_out=held_out(chosen_on, task),
        n_graph_edges=sets.graph.n_edges,
        **found,
        provenance=clock.provenance(model, task, seed=seed),
    )


class _Curve:
    """The circuits of every size."""

    def __init__(self, sets: EdgeSets, sizes: Sequence[float], rule, prune: bool):
        self.sets, self.sizes, self.rule, self.prune = sets, sizes, rule, prune
        self.asked = [edges_at(size, sets.graph.n_edges) for size in sizes]

    def circuits(self, scores: np.ndarray, rank) -> list[Selected]:
        options = {"rule": self.rule, "rank": rank, "prune": self.prune}
        return [select(self.sets.graph, scores, n=n, **options) for n in self.asked]

    def random(self, seed: int, draw: int) -> list[Selected]:
        """Nested circuits of random scores, so that a draw is a curve."""
        generator = np.random.default_rng([seed, draw])
        return self.circuits(generator.random(self.sets.graph.n_edges), SIGNED)


def _measured(curve: _Curve, by_rank, draws, units: str, pairs, seed: int):
    """All arrays of the result."""
    sets, sizes = curve.sets, list(curve.sizes)
    answers = {PROMPT: range(len(pairs)), ANSWER: pairs.answer_labels}

    def metric(values, **axes) -> xr.DataArray:
        return labelled(values.double(), {**axes, **answers}, units=units, meaning="metric")

    circuit, complement = (
        metric(
            torch.stack([sets.values([of(c.mask) for c in by_rank[r]]) for r in RANKINGS]),
            ranking=RANKINGS,
            size=sizes,
        )
        for of in (lambda mask: mask, np.logical_not)
    )
    full, nothing = metric(sets.full), metric(sets.nothing)
    ends = [nothing.mean(ANSWER), full.mean(ANSWER)]
    drawn = torch.stack([sets.values([c.mask for c in d]).double().mean((1, 2)) for d in draws])
    random = labelled(
        drawn, {"draw": range(len(draws)), "size": sizes}, units=units, meaning="metric"
    )
    random = share(random, *(end.mean(PROMPT) for end in ends))
    areas = estimate_of(
        lambda *values: _areas(share(*values)), [circuit.mean(ANSWER), *ends], seed=seed
    )
    areas = areas.transpose(ESTIMATE, "ranking", "area")
    mib = xr.concat(
        [areas.sel(ranking=SIGNED, area=CPR), areas.sel(ranking=ABSOLUTE, area=CMD)],
        dim="area",
        coords="minimal",
        compat="override",
    )
    mib = mib.drop_vars("ranking").assign_coords(area=[CPR, CMD]).transpose(ESTIMATE, "area")
    return {
        "asked": labelled(np.array(curve.asked), {"size": sizes}, units="edges", meaning="asked"),
        "n_edges": _counts(list(by_rank.values()), {"ranking": RANKINGS, "size": sizes}),
        "random_n_edges": _counts(draws, {"draw": range(len(draws)), "size": sizes}),
        "circuit": circuit,
        "complement": complement,
        "full": full,
        "nothing": nothing,
        "faithfulness": _faithfulness(circuit, ends, seed),
        "complement_faithfulness": _faithfulness(complement, ends, seed),
        "areas": areas.assign_attrs(units="1", long_name="area over the share of edges"),
        "mib": mib.assign_attrs(units="1", long_name="CPR of signed, CMD of absolute ranking"),
        "random": random.assign_attrs(units="share", long_name="faithfulness of random circuits"),
        "random_areas": _areas(random).assign_attrs(units="1", long_name="area of random circuits"),
    }


def _faithfulness(values: xr.DataArray, ends: list[xr.DataArray], seed: int) -> xr.DataArray:
    found = estimate_of(share, [values.mean(ANSWER), *ends], seed=seed)
    return found.transpose(ESTIMATE, "ranking", "size").assign_attrs(
        units="share", long_name="faithfulness"
    )


def _areas(faithfulness: xr.DataArray) -> xr.DataArray:
    """The four areas of curves along ``size``."""
    f = faithfulness.transpose(..., "size")
    sizes = f["size"].values.tolist()
    off = np.abs(1 - f.values)
    values = [area(v, sizes, log=log) for log in (False, True) for v in (f.values, off)]
    rest = {d: f[d] for d in f.dims if d != "size" and d in f.coords}
    return xr.DataArray(
        np.stack(values, -1), dims=(*f.dims[:-1], "area"), coords={**rest, "area": list(AREAS)}
    )


def _counts(rows: list[list[Selected]], coords: dict) -> xr.DataArray:
    counts = np.array([[c.n_edges for c in row] for row in rows])
    return labelled(counts, coords, units="edges", meaning="edges in the circuit")
