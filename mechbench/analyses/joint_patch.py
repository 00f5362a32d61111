"""Do patched cells add up? Several cells of a sweep patched one by one, and together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mechbench.analyses.common.controls import RandomDirection
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.interventions.reference import patch_hook
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import SITES, Selection, Site, check_extent, select
from mechbench.interventions.sources import FromRun, Source
from mechbench.results.joint_patch import CELL, JointPatch
from mechbench.shapes import HEAD, POSITION, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def joint_patch(
    model,
    task: Task,
    *,
    cells: Sequence[Sequence[int]] = ((0, 0), (1, 0)),
    site: Literal["z", "q", "k", "v", "resid_pre", "resid_mid", "attn_out", "mlp_out"] = "z",
    direction: Literal["noise", "denoise"] = "noise",
    corruption: str | None = None,
    position: int | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> JointPatch:
    """The effect of patching cells together, beside the sum of their single effects.

    Args:
        cells: (layer, head) for sites of heads, (layer, position) for the residual stream.
        site, direction, corruption, position: as in ``patch_sweep``.

    Raises:
        TaskError: fewer than two prompts or cells, a cell twice, a layer or position that is not
            there, ``position`` for the residual stream.
        UnsupportedHookError: a model without the site, a head or span that is not there.

    Source: none, our choice; effects that do not add up are discussed by Wang et al. 2022 (backup
        heads) and McGrath et al. 2023 (self-repair).
    """
    clock = Clock()
    check_size(task, 2)
    pairs = task.pairs() if corruption is None else task.pairs(corruption)
    place = HEAD if "head" in SITES[site][1] else POSITION
    given = [(layer, number) for layer, number in cells]
    _check(model, given, place, pairs.n_positions, position)
    sites = [_site(site, place, cell, position) for cell in given]
    require_hooks(model, [one.hook_name for one in sites])
    shared = site in ("k", "v")
    heads = (model.cfg.n_key_value_heads or model.cfg.n_heads) if shared else model.cfg.n_heads
    for one in sites:
        check_extent(one, {"head": heads})
    runs = Runs(model, pairs, direction)
    selections = [select(one, len(pairs), pairs.n_positions, runs.pairs.spans) for one in sites]
    hook_names = [selection.hook_name for selection in selections]
    other = "corrupt" if direction == "noise" else "clean"
    runs.need(other, hook_names)
    runs.need(runs.base, hook_names)
    random = RandomDirection(runs.base_run, seed, run=other)
    patches: list[tuple[Source, list[Selection]]] = [
        *((FromRun(other), [selection]) for selection in selections),
        (FromRun(other), selections),
        (random, selections),
    ]
    metric = task.metric().to(model.cfg.device)
    steps = Steps(len(patches), progress, checkpoint)
    base = _values(model, runs, metric, [])
    effects = []
    for source, patched in patches:
        hooks = [(one.hook_name, patch_hook(one, source, runs)) for one in patched]
        effects.append(_values(model, runs, metric, hooks) - base)
        steps.advance()
    names = [f"{layer}.{number}" for layer, number in given]
    by_prompt = {PROMPT: range(len(pairs))}
    about = {"units": metric.units, "meaning": "metric patched - unpatched"}
    single = labelled(torch.stack(effects[:-2]), {CELL: names, **by_prompt}, **about)
    joint, control = (labelled(values, by_prompt, **about) for values in effects[-2:])
    total = single.sum(CELL, keep_attrs=True)
    return JointPatch(
        site=site,
        place=place,
        direction=direction,
        metric_name=metric.name,
        single=single,
        joint=joint,
        single_summary=estimate(single, seed=seed),
        joint_summary=estimate(joint, seed=seed),
        total=estimate(total, seed=seed),
        beyond=estimate((joint - total).assign_attrs(joint.attrs), seed=seed),
        control=estimate(control, seed=seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _check(model, cells: Sequence[tuple[int, int]], place: str, n_positions: int, position) -> None:
    if len(cells) < 2 or len(set(cells)) < len(cells):
        raise TaskError(f"cells={list(cells)}: give at least two, each once.")
    for layer, number in cells:
        if not 0 <= layer < model.cfg.n_layers:
            raise TaskError(f"layer {layer} is not there: use 0 to {model.cfg.n_layers - 1}.")
        if place == POSITION and not 0 <= number < n_positions:
            raise TaskError(f"position {number} is not there: use 0 to {n_positions - 1}.")
    if place == POSITION and position is not None:
        raise TaskError(f"position={position!r} is for sites of heads: the cells name positions.")


def _site(site: str, place: str, cell: tuple[int, int], position: int | str | None) -> Site:
    layer, number = cell
    if place == HEAD:
        return Site(site, layer, head=number, position=position)
    return Site(site, layer, position=number)


def _values(model, runs: Runs, metric, hooks: list) -> Tensor:
    """The metric of each prompt in the run that is patched, ``[prompt]``."""
    with model.hooks(fwd_hooks=hooks):
        logits = model.answer_logits(runs.base_tokens, metric.positions, metric.vocab)
    return metric(logits).mean(-1)
