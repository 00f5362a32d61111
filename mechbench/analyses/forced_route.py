"""One token forced through or past one block: what it does to loss, metric and likely tokens."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.forced_runs import RoutedRun, routed_run
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.routing import require_routers, routed_by
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError
from mechbench.results.forced_route import MEASURE, MEASURES, RANK, STATE, STATES, ForcedRoute
from mechbench.shapes import LAYER, POSITION, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def forced_route(
    model,
    task: Task,
    *,
    layer: int | None = None,
    position: int = 1,
    to: Literal["other", "through", "past"] = "other",
    run: Literal["clean", "corrupted"] = "clean",
    prompt: int = 0,
    mode: str | None = None,
    threshold: float = 0.0,
    capacity: float | None = None,
    n_random: int = 8,
    n_tokens: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ForcedRoute:
    """What changes when the token at one position goes another way at one routed block.

    Args:
        layer: a routed block; the first one where None.
        position: the same in every prompt.
        to: "other" turns the decision of every prompt; else prompts that are decided so already
            stay as they are and are left out of the means.
        run: which prompts of the pairs.
        prompt: whose routes and likeliest tokens are kept.
        mode, threshold, capacity: as in ``token_routes``.
        n_random: draws of another position, the control; at least 1.
        n_tokens: how many of the likeliest tokens are kept, at least 1.

    Raises:
        TaskError: fewer than two prompts, a layer that is not routed, a position or prompt that is
            not there, an unknown mode, ``n_random`` or ``n_tokens`` below 1.
        SpecError: a capacity that is no share.
        UnsupportedHookError: a model without routed blocks.

    Source: none, our choice; ``router_interventions`` turns every decision.
    """
    clock = Clock()
    model = require_routers(model)
    check_size(task, 2)
    pairs = task.pairs().to(model.cfg.device)
    model.check_length(pairs.n_positions)
    layers = list(model.routers)
    at = layers[0] if layer is None else layer
    _check(layers, at, {"position": (position, pairs.n_positions), "prompt": (prompt, len(pairs))})
    if n_random < 1 or n_tokens < 1:
        raise TaskError(f"n_random={n_random} and n_tokens={n_tokens} must be at least 1.")
    tokens = pairs.clean if run == "clean" else pairs.corrupt
    metric = task.metric().to(model.cfg.device)
    chosen = mode or model.route_mode
    steps = Steps(2 + n_random, progress, checkpoint)
    with routed_by(model, chosen, capacity=capacity, threshold=threshold, seed=seed):
        used = model.routers[at].capacity
        own = routed_run(model, tokens, metric)
        steps.advance()
        before = own.through[:, layers.index(at)]
        wanted = (
            ~before[:, position] if to == "other" else torch.full_like(before[:, 0], to != "past")
        )
        turned = wanted != before[:, position]
        mask = before.clone()
        mask[:, position] = wanted
        forced = routed_run(model, tokens, metric, layer=at, mask=mask)
        steps.advance()
        masks, compared = _elsewhere(before, position, n_random, seed)
        compared = compared & turned
        controls = []
        for other in masks:
            controls.append(_measured(routed_run(model, tokens, metric, layer=at, mask=other)))
            steps.advance()
    labels = {MEASURE: MEASURES, PROMPT: range(len(pairs))}
    about = {"units": "nats, or the metric's", "meaning": "forced minus own"}
    base = _measured(own)
    change = (_measured(forced) - base).masked_fill(~turned, float("nan"))
    random = (torch.stack(controls).mean(0) - base).masked_fill(~compared, float("nan"))
    both = torch.stack([base, _measured(forced)], dim=1)
    states = {MEASURE: MEASURES, STATE: STATES, PROMPT: range(len(pairs))}
    return ForcedRoute(
        mode=chosen,
        capacity=used,
        threshold=threshold,
        layer=at,
        position=position,
        to=to,
        run=run,
        prompt=prompt,
        n_changed=int(turned.sum()),
        n_random=n_random,
        n_compared=int(compared.sum()),
        metric_name=metric.name,
        metric_units=metric.units,
        through=_by_prompt(before[:, position], "decision", "goes through"),
        weight=_by_prompt(own.weights[:, layers.index(at), position], "1", "router weight"),
        values=labelled(both, states, units="nats, or the metric's", meaning="value"),
        change=labelled(change, labels, **about),
        summary=_summary(labelled(change, labels, **about), seed),
        random=_summary(labelled(random, labels, **about), seed),
        rerouted=_rerouted(own, forced, layers, at),
        **_of_prompt(model, tokens[prompt], (own, forced), prompt, layers, n_tokens),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _check(layers: list[int], layer: int, limits: dict[str, tuple[int, int]]) -> None:
    if layer not in layers:
        raise TaskError(
            f"layer={layer} is no routed block. Routed blocks: {', '.join(map(str, layers))}."
        )
    for name, (value, size) in limits.items():
        if not 0 <= value < size:
            raise TaskError(f"{name}={value} is not there: use 0 to {size - 1}.")


def _elsewhere(
    before: Tensor, position: int, n_random: int, seed: int
) -> tuple[list[Tensor], Tensor]:
    """Decisions with another position turned, and which prompts have one that is decided alike.

    ``before`` is ``[prompt pos]``; prompts without such a position stay as they are.
    """
    alike = before == before[:, position, None]
    alike[:, position] = False
    possible = alike.any(1)
    draw = torch.Generator().manual_seed(seed)
    masks = []
    for _ in range(n_random):
        noise = torch.rand(before.shape, generator=draw).to(before.device)
        drawn = noise.masked_fill(~alike, -1.0).argmax(1, keepdim=True)
        turned = torch.zeros_like(before).scatter(1, drawn, True) & possible[:, None]
        masks.append(before ^ turned)
    return masks, possible


def _measured(run: RoutedRun) -> Tensor:
    """Measures ``[measure prompt]``."""
    return torch.stack([run.measures[measure] for measure in MEASURES])


def _by_prompt(values: Tensor, units: str, meaning: str) -> xr.DataArray:
    return labelled(values, {PROMPT: range(len(values))}, units=units, meaning=meaning)


def _summary(change: xr.DataArray, seed: int) -> xr.DataArray:
    """The mean over the prompts that have a value, with its interval where there are some."""
    kept = change.isel({PROMPT: np.flatnonzero(change.notnull().all(MEASURE).values)})
    if not kept.sizes[PROMPT]:
        kept = change.isel({PROMPT: [0]})  # NaN, and nothing to take a mean of
    return estimate(kept, seed=seed)


def _rerouted(own: RoutedRun, forced: RoutedRun, layers: list[int], at: int) -> xr.DataArray:
    later = [i for i, layer in enumerate(layers) if layer > at]
    changed = (own.through != forced.through)[:, later].sum(-1).double().mean(0)
    axes = {LAYER: [layers[i] for i in later]}
    return labelled(changed, axes, units="tokens", meaning="other routes than before")


def _of_prompt(
    model, ids: Tensor, runs: tuple[RoutedRun, ...], prompt: int, layers: list[int], n: int
) -> dict[str, Any]:
    """The text of one prompt, and its routes and likeliest tokens in both states."""
    texts = np.array(token_labels(model, ids.tolist()), dtype=str)
    positions = {POSITION: range(len(ids))}
    logits = torch.stack([run.first_answer[prompt] for run in runs])
    top = logits.topk(min(n, logits.shape[-1]), dim=-1)
    probs = logits.softmax(-1).gather(-1, top.indices)
    ranked = {STATE: STATES, RANK: range(1, top.values.shape[-1] + 1)}
    likely = [token_labels(model, row) for row in top.indices.tolist()]
    return {
        "tokens": labelled(texts, positions, units="token", meaning="the prompt"),
        "routes": labelled(
            torch.stack([run.through[prompt] for run in runs]),
            {STATE: STATES, LAYER: layers, **positions},
            units="decision",
            meaning="goes through",
        ),
        "top_token": labelled(
            np.array(likely, dtype=str), ranked, units="token", meaning="likeliest tokens"
        ),
        "top_prob": labelled(probs, ranked, units="probability", meaning="probability"),
        "top_logit": labelled(top.values, ranked, units="logits", meaning="logit"),
    }
