"""Which tokens of which prompt go through which block, in both prompts of every pair."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.forced_runs import routed_run
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.routing import require_routers, routed_by
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.results.forced_route import METRIC
from mechbench.results.token_routes import RUN, RUNS, TokenRoutes
from mechbench.shapes import LAYER, POSITION, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def token_routes(
    model,
    task: Task,
    *,
    mode: str | None = None,
    threshold: float = 0.0,
    capacity: float | None = None,
    corruption: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TokenRoutes:
    """Every decision of every router about the clean and the corrupted prompts.

    Args:
        mode: one of the model's route modes; by default the one it is used in. In "random" the
            routes are drawn from ``seed``.
        threshold: of the router weights in "aux_threshold".
        capacity: share of tokens that go through in "topk" and "random"; by default the model's.
        corruption: one of ``task.corruptions``; by default the task's usual one.

    Raises:
        TaskError: fewer than two prompts, an unknown mode or corruption.
        SpecError: a capacity that is no share.
        UnsupportedHookError: a model without routed blocks.

    Source: the map is that of Raposo et al. 2024 (arXiv 2404.02258), as in secondary notes; the
    comparison of two prompts and its control are our choice.
    """
    clock = Clock()
    model = require_routers(model)
    check_size(task, 2)
    pairs = task.pairs() if corruption is None else task.pairs(corruption)
    pairs = pairs.to(model.cfg.device)
    model.check_length(pairs.n_positions)
    metric = task.metric().to(model.cfg.device)
    steps = Steps(len(RUNS), progress, checkpoint)
    layers, chosen = list(model.routers), mode or model.route_mode
    decided, weighed, values = [], [], []
    with routed_by(model, chosen, capacity=capacity, threshold=threshold, seed=seed):
        used = model.routers[layers[0]].capacity
        for tokens in (pairs.clean, pairs.corrupt):
            found = routed_run(model, tokens, metric)
            decided.append(found.through)
            weighed.append(found.weights)
            values.append(found.measures[METRIC])
            steps.advance()
    axes = {
        RUN: RUNS,
        PROMPT: range(len(pairs)),
        LAYER: layers,
        POSITION: range(pairs.n_positions),
    }
    routes = labelled(torch.stack(decided), axes, units="decision", meaning="goes through")
    clean = routes.sel({RUN: RUNS[0]}, drop=True)
    next_clean = clean.copy(data=np.roll(clean.values, -1, axis=0))
    return TokenRoutes(
        mode=chosen,
        capacity=used,
        threshold=threshold,
        metric_name=metric.name,
        metric_units=metric.units,
        through=routes,
        weights=labelled(torch.stack(weighed), axes, units="1", meaning="router weight"),
        tokens=_texts(model, torch.stack([pairs.clean, pairs.corrupt]), axes),
        n_tokens=routes.sum(POSITION).assign_attrs(units="tokens", long_name="go through"),
        n_blocks=routes.sum(LAYER).assign_attrs(units="blocks", long_name="gone through"),
        share=_share(routes, "tokens that go through", seed),
        agreement=_share(clean == routes.sel({RUN: RUNS[1]}, drop=True), "equal decisions", seed),
        agreement_other=_share(clean == next_clean, "equal decisions of two pairs", seed),
        metric=labelled(
            torch.stack(values),
            {RUN: RUNS, PROMPT: range(len(pairs))},
            units=metric.units,
            meaning=metric.name,
        ),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _share(true: xr.DataArray, meaning: str, seed: int) -> xr.DataArray:
    shares = true.astype(float).mean(POSITION)
    return estimate(shares.assign_attrs(units="share", long_name=meaning), seed=seed)


def _texts(model, ids: Tensor, axes: dict) -> xr.DataArray:
    texts = np.array(token_labels(model, ids.flatten().tolist()), dtype=str).reshape(ids.shape)
    kept = {name: axes[name] for name in (RUN, PROMPT, POSITION)}
    return labelled(texts, kept, units="token", meaning="the prompt")
