"""One patch looked at closely: attention, metric and likeliest tokens beside both runs."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError
from mechbench.interventions.reference import patch_hook
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site, check_extent, select
from mechbench.interventions.sources import FromRun
from mechbench.results.patched_cell import KEY, QUERY, RANK, RUN, RUNS, PatchedCell
from mechbench.shapes import PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def patched_cell(
    model,
    task: Task,
    *,
    layer: int = 0,
    site: str = "z",
    head: int | None = None,
    position: int | str | None = None,
    direction: Literal["noise", "denoise"] = "noise",
    corruption: str | None = None,
    prompt: int = 0,
    attention_layer: int | None = None,
    attention_head: int | None = None,
    n_tokens: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> PatchedCell:
    """What the patch of one site does, beside the clean and the corrupted run.

    Args:
        layer, site, head, position: where is written, as in ``Site``.
        direction, corruption: as in ``patch_sweep``.
        prompt: whose attention and tokens are kept.
        attention_layer, attention_head: whose attention; by default the patched head's own.
        n_tokens: how many of the likeliest tokens are kept, at least 1.

    Raises:
        TaskError: fewer than two prompts, a prompt, layer or head that is not there, ``n_tokens``
            below 1.
        UnsupportedHookError: a site, head, position or span that the model or task does not have.

    Source: none, our choice.
    """
    clock = Clock()
    check_size(task, 2)
    site_of = Site(site, layer, head=head, position=position)
    seen_layer = layer if attention_layer is None else attention_layer
    seen_head = (head or 0) if attention_head is None else attention_head
    _check(model, task, layer=layer, seen=(seen_layer, seen_head), prompt=prompt, n=n_tokens)
    pairs = task.pairs() if corruption is None else task.pairs(corruption)
    require_hooks(model, [site_of.hook_name])
    n_kv_heads = model.cfg.n_key_value_heads or model.cfg.n_heads
    n_heads = n_kv_heads if site in ("k", "v") else model.cfg.n_heads
    check_extent(site_of, {"head": n_heads})
    runs = Runs(model, pairs, direction)
    source = FromRun("corrupt" if direction == "noise" else "clean")
    runs.need(source.run, [site_of.hook_name])
    selection = select(site_of, len(pairs), pairs.n_positions, runs.pairs.spans)
    writing = [(selection.hook_name, patch_hook(selection, source, runs))]
    metric = task.metric().to(model.cfg.device)
    steps = Steps(len(RUNS), progress, checkpoint)
    values, patterns, logits = [], [], []
    for run in RUNS:
        tokens = runs.pairs.corrupt if run == "corrupted" else runs.pairs.clean
        hooks = writing if run == "patched" else []
        tokens = runs.base_tokens if run == "patched" else tokens
        seen, answered = _forward(model, tokens, metric.positions, hooks, seen_layer)
        values.append(metric(answered if metric.vocab is None else answered[..., metric.vocab]))
        patterns.append(None if seen is None else seen[prompt, seen_head])
        logits.append(answered[prompt, 0])
        steps.advance()
    measured = labelled(
        torch.stack(values).mean(-1),
        {RUN: RUNS, PROMPT: range(len(pairs))},
        units=metric.units,
        meaning=metric.name,
    )
    base = "clean" if direction == "noise" else "corrupted"
    change = measured.sel({RUN: "patched"}, drop=True) - measured.sel({RUN: base}, drop=True)
    return PatchedCell(
        site=site,
        layer=layer,
        place=_place(head, position),
        direction=direction,
        metric_name=metric.name,
        prompt=prompt,
        attention_layer=seen_layer,
        attention_head=seen_head,
        metric=measured,
        change=estimate(change.assign_attrs(units=metric.units), seed=seed),
        pattern=_patterns(patterns),
        tokens=_tokens(model, runs, prompt),
        **_top(model, torch.stack(logits), n_tokens),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _check(model, task: Task, *, layer: int, seen: tuple[int, int], prompt: int, n: int) -> None:
    limits = {
        "layer": (layer, model.cfg.n_layers),
        "attention_layer": (seen[0], model.cfg.n_layers),
        "attention_head": (seen[1], model.cfg.n_heads),
        "prompt": (prompt, len(task)),
    }
    for name, (value, size) in limits.items():
        if not 0 <= value < size:
            raise TaskError(f"{name}={value} is not there: use 0 to {size - 1}.")
    if n < 1:
        raise TaskError(f"n_tokens={n} must be at least 1.")


def _forward(model, tokens: Tensor, positions: Tensor, hooks: list, layer: int):
    """Attention ``[prompt head query key]`` or None, and logits ``[prompt answer vocab]``."""
    name = f"blocks.{layer}.attn.hook_pattern"
    seen: list[Tensor] = []
    if name in model.hook_dict:
        hooks = [*hooks, (name, lambda pattern, hook: seen.append(pattern.clone()))]
    with model.hooks(fwd_hooks=hooks):
        logits = model.answer_logits(tokens, positions, None)
    return (seen[0] if seen else None), logits


def _patterns(patterns: list[Tensor | None]) -> xr.DataArray | None:
    kept = [pattern for pattern in patterns if pattern is not None]
    if len(kept) < len(patterns):
        return None
    n_query, n_key = kept[0].shape
    axes = {RUN: RUNS, QUERY: range(n_query), KEY: range(n_key)}
    return labelled(torch.stack(kept), axes, units="probability", meaning="attention")


def _tokens(model, runs: Runs, prompt: int) -> xr.DataArray:
    of_run = (runs.pairs.clean, runs.pairs.corrupt, runs.base_tokens)
    texts = [token_labels(model, tokens[prompt].tolist()) for tokens in of_run]
    coords = {RUN: list(RUNS), QUERY: list(range(len(texts[0])))}
    return xr.DataArray(np.array(texts, dtype=str), dims=(RUN, QUERY), coords=coords)


def _top(model, logits: Tensor, n: int) -> dict[str, Any]:
    """The likeliest tokens of logits ``[run vocab]``."""
    top = logits.topk(min(n, logits.shape[-1]), dim=-1)
    axes = {RUN: RUNS, RANK: range(1, top.values.shape[-1] + 1)}
    probs = logits.softmax(-1).gather(-1, top.indices)
    texts = [token_labels(model, ids) for ids in top.indices.tolist()]
    names = xr.DataArray(
        np.array(texts, dtype=str), dims=tuple(axes), coords={k: list(v) for k, v in axes.items()}
    )
    return {
        "top_token": names,
        "top_logit": labelled(top.values, axes, units="logits", meaning="logit"),
        "top_prob": labelled(probs, axes, units="probability", meaning="probability"),
    }


def _place(head: int | None, position: int | str | None) -> str:
    parts = [f"head {head}"] if head is not None else []
    parts += [f"position {position}"] if position is not None else []
    return ", ".join(parts) or "everywhere"
