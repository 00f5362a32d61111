"""Propose a circuit of heads, say what each does, and test it on other prompts."""

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.ablation import ablate, ablated_values, keep_only
from mechbench.analyses.common.behaviour import THRESHOLDS, head_features, head_roles
from mechbench.analyses.common.controls import random_head_sets
from mechbench.analyses.common.estimates import estimate_of, estimate_share, labelled, share
from mechbench.analyses.common.frame import (
    CURRENT_WORD,
    PREVIOUS_LETTERS,
    PREVIOUS_WORDS,
    all_pairs,
    answer_labels,
    check_size,
    clean_metric,
    per_prompt,
    subset,
    with_all_letters,
)
from mechbench.analyses.common.heads import Head, all_heads, head_labels
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import ranked_heads
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.interventions.runs import Runs
from mechbench.results.circuit_search import PARTS, CircuitSearch
from mechbench.shapes import ANSWER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def circuit_search(
    model,
    task: AcronymTask,
    *,
    held_out: AcronymTask | None = None,
    target_share: float = 0.9,
    n_candidates: int | None = None,
    n_random: int = 100,
    method: str = "resample",
    against: str = "max",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitSearch:
    """A circuit that recovers LD when all other heads are mean-ablated, and how well it stands up.

    Heads are ranked by the head sweeps of all three corruptions. Among the first ``n_candidates``,
    the one that recovers most is added until every letter has ``target_share`` of LD; then heads
    whose removal costs no letter its share are dropped again, the weakest first. A share is (LD -
    LD with all heads ablated) / (LD of the intact model - the same), and above 1 it counts as 1:
    ablating heads that oppose the answer is not faithfulness.

    Args:
        held_out: prompts of another seed for the tests; by default every second prompt of ``task``
            is kept for them.
        n_candidates: by default a quarter of the heads, and at least 16.
        n_random: random head sets of the same size, drawn from all heads.

    Raises:
        TaskError: a share outside 0..1, fewer than two prompts to search or to test on, or a model
            that loses nothing when all heads are ablated.
        UnsupportedHookError: norms other than LayerNorm.

    Source: our choice; mean ablation as in Garcia-Carrasco et al. 2024.
    """
    clock = Clock()
    if not 0 < target_share <= 1 or n_random < 1:
        raise TaskError(
            f"target_share={target_share} must be above 0 and at most 1, n_random={n_random} at "
            "least 1."
        )
    search_task, test_task, split = _split(task, held_out)
    every = all_heads(model)
    n_candidates = n_candidates or max(16, len(every) // 4)
    steps = Steps(_n_cells(model, task, n_candidates, n_random), progress, checkpoint)
    ablation = _Ablation(model, search_task, method, against, seed, steps, "search")
    ranked = ranked_heads(
        model,
        search_task,
        seed=seed,
        method=method,
        corruptions=(CURRENT_WORD, PREVIOUS_WORDS, PREVIOUS_LETTERS),
        steps=steps,
    )
    circuit, growth = _grow(ablation, ranked[:n_candidates], target_share)
    circuit = _prune(ablation, circuit, target_share)
    final = ablation.shares([circuit])[0]
    features = head_features(model, search_task, seed=seed, method=method, steps=steps)
    tests = _test(
        _Ablation(model, test_task, method, against, seed, steps, "test"), circuit, n_random
    )
    steps.finish()
    return CircuitSearch(
        heads=tuple(head_labels(circuit)),
        roles=head_roles(features, circuit),
        thresholds=dict(THRESHOLDS),
        features=features,
        target_share=float(target_share),
        reached=bool((final >= target_share).all()),
        growth=growth,
        n_search=len(search_task),
        n_test=len(test_task),
        split=split,
        method=method,
        against=against,
        **tests,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _split(task: AcronymTask, held_out: AcronymTask | None) -> tuple[AcronymTask, AcronymTask, str]:
    if held_out is not None:
        check_size(task, 2)
        check_size(held_out, 2)
        return task, held_out, "tested on prompts of another seed"
    check_size(task, 4)
    halves = [subset(task, range(first, len(task), 2)) for first in (0, 1)]
    return halves[0], halves[1], "searched on every second prompt, tested on the others"


def _n_cells(model, task: AcronymTask, n_candidates: int, n_random: int) -> int:
    """An upper bound on the work, for the progress count."""
    n, n_heads = len(task.frame.answers), model.cfg.n_layers * model.cfg.n_heads
    sweeps = 2 * n_heads * (3 * n - 2)
    return sweeps + n_candidates * (n_candidates + 3) // 2 + 2 * n_random + n_candidates + 8


class _Ablation:
    """LD of one task with sets of heads kept or ablated."""

    def __init__(self, model, task, method, against, seed, steps: Steps, name: str):
        self.model, self.task, self.seed = model, task, seed
        self._metric = task.metric(against)
        self._runs = Runs(model, all_pairs(task, method=method, seed=seed))
        self._steps, self._name, self._calls = steps, name, 0
        self.full = clean_metric(model, task, self._metric)
        self._base = torch.from_numpy(self.full.values)
        self.nothing = self.kept([()])[0]
        gap = self._base.mean(0) - self.nothing.mean(0)
        if not bool((gap > 0).all()):
            raise TaskError(
                f"{model.cfg.model_name!r} does not lose LD on every letter when all its heads are "
                f"ablated (change per letter: {[round(-float(g), 3) for g in gap]} logits), so "
                "there is no share to recover: does the model know the task?"
            )
        self._gap = gap

    def kept(self, head_sets: Sequence[Sequence[Head]]) -> Tensor:
        """LD ``[set prompt answer]`` with only these heads kept."""
        return self._values([keep_only(self.model, heads) for heads in head_sets])

    def ablated(self, head_sets: Sequence[Sequence[Head]]) -> Tensor:
        """LD ``[set prompt answer]`` with only these heads ablated."""
        return self._values([ablate(heads) for heads in head_sets])

    def shares(self, head_sets: Sequence[Sequence[Head]]) -> Tensor:
        """Share of LD recovered, ``[set answer]``."""
        return (self.kept(head_sets).mean(1) - self.nothing.mean(0)) / self._gap

    def _values(self, cells) -> Tensor:
        self._calls += 1
        name = f"{self._name}-{self._calls}"
        return ablated_values(
            self.model, self._runs, cells, self._metric, self._steps, name, self._base
        )


def _grow(
    ablation: _Ablation, candidates: Sequence[Head], target: float
) -> tuple[list[Head], xr.DataArray]:
    circuit: list[Head] = []
    reached = [torch.zeros_like(ablation.shares([()])[0])]
    while len(circuit) < len(candidates) and not bool((reached[-1] >= target).all()):
        left = [head for head in candidates if head not in circuit]
        shares = ablation.shares([[*circuit, head] for head in left])
        best = int(shares.clamp(max=1).mean(1).argmax())
        circuit.append(left[best])
        reached.append(shares[best])
    growth = labelled(
        torch.stack(reached),
        {"step": ["nothing", *head_labels(circuit)], ANSWER: answer_labels(ablation.task)},
        units="share",
        meaning="share of LD recovered while growing",
    )
    return circuit, growth


def _prune(ablation: _Ablation, circuit: list[Head], target: float) -> list[Head]:
    """Drop heads, one at a time, while every letter keeps its share (or what it had below it)."""
    floor = ablation.shares([circuit])[0].clamp(max=target)
    while len(circuit) > 1:
        without = [[h for h in circuit if h != head] for head in circuit]
        shares = ablation.shares(without)
        spare = (shares >= floor).all(1)
        if not bool(spare.any()):
            break
        score = shares.clamp(max=1).mean(1).masked_fill(~spare, -float("inf"))
        circuit = without[int(score.argmax())]
    return circuit


def _test(ablation: _Ablation, circuit: list[Head], n_random: int) -> dict[str, xr.DataArray]:
    task, seed = ablation.task, ablation.seed
    draws = random_head_sets(all_heads(ablation.model), len(circuit), n_random, seed=seed)
    removed = [[h for h in circuit if h != head] for head in circuit]
    kept = ablation.kept([(), circuit, *removed, *draws])
    gone = ablation.ablated([circuit, *draws])
    n = 2 + len(removed)

    def ld(values: Tensor, **axes) -> xr.DataArray:
        return with_all_letters(per_prompt(values, task, meaning="LD", **axes))

    intact = torch.from_numpy(ablation.full.values)
    parts = ld(torch.stack([intact, kept[0], kept[1], gone[0]]), part=PARTS)
    full, nothing, found, rest = (parts.sel(part=p, drop=True) for p in PARTS)
    less = ld(kept[2:n], removed=head_labels(circuit))
    drawn = range(n_random)
    random_kept, random_gone = (
        share(ld(v, draw=drawn).mean(PROMPT), nothing.mean(PROMPT), full.mean(PROMPT))
        for v in (kept[n:], gone[1:])
    )
    faithfulness = estimate_share(found, nothing, full, seed=seed)
    completeness = estimate_share(rest, nothing, full, seed=seed)

    def lost(without, with_all, zero, one):
        return share(with_all, zero, one) - share(without, zero, one)

    minimality = estimate_of(lost, [less, found, nothing, full], seed=seed)
    as_good = [
        (random_kept >= faithfulness.sel(estimate="mean", drop=True)).sum("draw"),
        (random_gone <= completeness.sel(estimate="mean", drop=True)).sum("draw"),
    ]
    p_value = (xr.concat(as_good, dim="test") + 1) / (n_random + 1)
    shared = {"units": "share", "long_name": "share of LD of random head sets"}
    return {
        "logit_diff": parts,
        "faithfulness": faithfulness,
        "completeness": completeness,
        "minimality": minimality.transpose("estimate", "removed", ANSWER).assign_attrs(
            units="share", long_name="share lost without this head"
        ),
        "random_faithfulness": random_kept.transpose("draw", ANSWER).assign_attrs(shared),
        "random_completeness": random_gone.transpose("draw", ANSWER).assign_attrs(shared),
        "p_value": p_value.assign_coords(test=["faithfulness", "completeness"]).assign_attrs(
            units="1", long_name="share of random sets as good, (1 + count) / (1 + draws)"
        ),
    }
