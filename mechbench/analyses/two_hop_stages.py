"""When the stages of two-hop queries happen, in the correct and in the incorrect set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.descriptions import (
    Decoding,
    Descriptions,
    check_decoding,
    describe,
)
from mechbench.analyses.common.estimates import ESTIMATE, estimate, labelled
from mechbench.analyses.common.hops import MAX_NEW_TOKENS, check_method
from mechbench.analyses.common.knockout import Knockouts, check_pairs, knock_out, other_keys
from mechbench.analyses.common.projections import (
    READINGS,
    SUBLAYERS,
    Projections,
    check_sublayers,
    project,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.query_groups import (
    QueryGroups,
    by_group,
    check_groups,
    n_label_steps,
    query_groups,
)
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.target_prompts import DESCRIPTION, LENS
from mechbench.results.query_groups import ENTITIES, GROUP
from mechbench.results.two_hop_stages import EVENT, EVENTS, STAGE, STAGES, TwoHopStages
from mechbench.shapes import PROMPT
from mechbench.tasks.two_hop import TwoHopTask

_ABOUT = {"units": "1", "meaning": "first layer"}


@torch.inference_mode()
def two_hop_stages(
    model,
    task: TwoHopTask,
    *,
    labels: str | None = "generate",
    prompt: str = DESCRIPTION,
    decoding: str = "sample",
    seeds: Sequence[int] = (0, 1, 2),
    window: int = 3,
    method: str = "generate",
    max_new_tokens: int = MAX_NEW_TOKENS,
    most: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TwoHopStages:
    """The first layer of each stage per query, from the three experiments that show them.

    The first hop is resolved where e2 is decoded at t1; information propagates at the mean of the
    first layers at which masking attention from t2 to t1 matters, attention writes e2 at t2, and e2
    is decoded at t2; the second hop is resolved where e3 is decoded at t2; the prediction is
    extracted where an MLP's output at t2 ranks it first. Of decodings the source layer counts.

    Args:
        labels: how the sets are found, as in ``hop_labels``; None (null) makes one group of all.
        prompt, decoding, seeds: as ``prompt``, ``method`` and ``seeds`` of ``entity_description``.
        window, method: as in ``attention_knockout``.
        max_new_tokens: of every text.
        most: at most so many queries of each group, drawn by the seed.

    Raises:
        TaskError, UnsupportedHookError, TokenizerError: as the three experiments do.

    Source: Biran et al. 2024; the controls are our choice.
    """
    clock = Clock()
    how = Decoding(prompt, decoding, tuple(seeds), max_new_tokens)
    check_groups(model, task, labels, most)
    check_method(model, method)
    check_decoding(model, task, how, ("t1", "t2"))
    check_pairs(model, task, [("t2", "t1")], window)
    check_sublayers(model)
    layers = list(range(model.cfg.n_layers))
    targets = layers[-1:] if prompt == LENS else layers
    per_query = 2 * len(layers) * len(targets) * how.n_samples + 2 * (len(layers) + 1)
    n_steps = n_label_steps(task, labels) + per_query * len(task) + len(SUBLAYERS) * len(layers)
    steps = Steps(n_steps, progress, checkpoint)
    groups = query_groups(model, task, labels=labels, most=most, seed=seed, steps=steps)
    task = groups.task
    at_t1, at_t2 = (describe(model, task, w, how, layers, targets, steps) for w in ("t1", "t2"))
    keys = (task.t1, other_keys(task.t2, task.t1, seed))
    options = {"window": window, "method": method, "max_new_tokens": max_new_tokens}
    masked, other = (
        knock_out(model, task, task.t2, key, **options, steps=steps, name=f"stages-{name}")
        for name, key in zip(("knockout", "control"), keys, strict=True)
    )
    written = project(model, task, steps)
    steps.finish()
    events = _events(at_t1, at_t2, masked, written, "own")
    stages = _stages(events)
    control = _stages(_events(at_t1, at_t2, other, written, "control"))
    prompts = {PROMPT: range(len(task))}
    found = labelled(stages, {STAGE: STAGES, **prompts}, **_ABOUT)
    not_own = labelled(control, {STAGE: STAGES, **prompts}, **_ABOUT)
    return TwoHopStages(
        prompt=prompt,
        decoding=decoding,
        method=method,
        window=window,
        n_layers=len(layers),
        counts=groups.counts,
        sets=_sets(groups),
        events=labelled(events, {EVENT: EVENTS, **prompts}, **_ABOUT),
        layers=found,
        detected=by_group(_seen(found), groups, seed=seed),
        control=by_group(_seen(not_own), groups, seed=seed),
        mean=_mean(found, groups, seed),
        median=_median(found, groups),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _events(
    at_t1: Descriptions, at_t2: Descriptions, masked: Knockouts, written: Projections, which: str
) -> np.ndarray:
    """First layers ``[event prompt]``; with "control" those of other queries' names."""
    decoded = [d.hits if which == "own" else d.control for d in (at_t1, at_t2)]
    by_source = [np.logical_or.reduce(hits, axis=2) for hits in decoded]  # over target layers
    ranks = written.first if which == "own" else written.control
    e2, e3 = ENTITIES.index("e2"), ENTITIES.index("e3")
    found = [
        by_source[0][e2],
        masked.matters,
        ranks[SUBLAYERS.index("attention"), READINGS.index("e2")],
        by_source[1][e2],
        by_source[1][e3],
        ranks[SUBLAYERS.index("mlp"), READINGS.index("prediction")],
    ]
    return np.stack([np.where(f.any(0), f.argmax(0), np.nan) for f in found])


def _stages(events: np.ndarray) -> np.ndarray:
    """``[stage prompt]`` from ``[event prompt]``: the mean of those found in the second stage."""
    middle = events[1:4]
    n = (~np.isnan(middle)).sum(0)
    propagates = np.where(n > 0, np.nansum(middle, 0) / np.maximum(n, 1), np.nan)
    return np.stack([events[0], propagates, events[4], events[5]])


def _seen(layers: xr.DataArray) -> xr.DataArray:
    return layers.notnull().assign_attrs(units="share", long_name="stage seen")


def _sets(groups: QueryGroups) -> xr.DataArray:
    names = np.empty(len(groups.task), dtype=object)
    for name, members in groups.members.items():
        names[members] = name
    return xr.DataArray(names.astype(str), dims=(PROMPT,), coords={PROMPT: range(len(names))})


def _mean(layers: xr.DataArray, groups: QueryGroups, seed: int) -> xr.DataArray:
    """Mean layers of the queries in which a stage was seen, ``(estimate group stage)``."""
    rows = []
    for members in groups.members.values():
        found = [
            estimate(labelled(kept, {PROMPT: range(len(kept))}, **_ABOUT), seed=seed)
            if len(kept)
            else labelled(np.full(3, np.nan), {ESTIMATE: ["mean", "low", "high"]}, **_ABOUT)
            for kept in _kept(layers, members)
        ]
        rows.append(xr.concat(found, dim=STAGE).assign_coords({STAGE: list(STAGES)}))
    joined = xr.concat(rows, dim=GROUP).assign_coords({GROUP: list(groups.members)})
    return joined.transpose(ESTIMATE, GROUP, STAGE)


def _median(layers: xr.DataArray, groups: QueryGroups) -> xr.DataArray:
    rows = [
        [float(np.median(kept)) if len(kept) else np.nan for kept in _kept(layers, members)]
        for members in groups.members.values()
    ]
    axes = {GROUP: list(groups.members), STAGE: STAGES}
    return labelled(np.array(rows), axes, units="1", meaning="median of first layers")


def _kept(layers: xr.DataArray, members: np.ndarray) -> list[np.ndarray]:
    return [row[~np.isnan(row)] for row in layers.values[:, members]]
