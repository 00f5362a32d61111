"""How much the sweep planner saves: the same small sweep by planner and by a plain loop."""

from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from mechbench.experiments.speed import Speed
from mechbench.interventions.engine import run_patches
from mechbench.interventions.patches import Patch
from mechbench.interventions.sites import Site
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

_HOOK = "blocks.{layer}.hook_resid_pre"


def measure_speed(model, pairs: PromptPairs, metric: Metric, *, repeats: int = 3) -> Speed:
    """The least time of ``repeats`` to patch ``resid_pre`` at every layer and position, both ways.

    The plain loop is one hooked forward pass per patch with all logits, as one writes it by hand.
    Both times include caching the corrupted run. Source: our choice.
    """
    cells = [
        (layer, position)
        for layer in range(model.cfg.n_layers)
        for position in range(pairs.n_positions)
    ]
    pairs, metric = pairs.to(model.cfg.device), metric.to(model.cfg.device)
    patches = [(Patch(Site("resid_pre", layer, position=p)),) for layer, p in cells]
    planner_s = plain_s = float("inf")
    planned = plain = torch.empty(0)
    for _ in range(repeats):
        start = perf_counter()
        planned = run_patches(model, pairs, patches, metric).values
        planner_s = min(planner_s, perf_counter() - start)
        start = perf_counter()
        plain = _plain_loop(model, pairs, metric, cells).cpu()
        plain_s = min(plain_s, perf_counter() - start)
    return Speed(
        n_patches=len(cells),
        n_prompts=len(pairs),
        planner_s=planner_s,
        plain_s=plain_s,
        largest_difference=float((planned - plain).abs().max()),
    )


@torch.inference_mode()
def _plain_loop(model, pairs: PromptPairs, metric: Metric, cells: list[tuple[int, int]]) -> Tensor:
    names = [_HOOK.format(layer=layer) for layer in range(model.cfg.n_layers)]
    _, cache = model.run_with_cache(pairs.corrupt, names_filter=names)
    values = []
    for layer, position in cells:
        name = _HOOK.format(layer=layer)
        write = partial(_write, corrupt=cache[name], position=position)
        logits = model.run_with_hooks(pairs.clean, fwd_hooks=[(name, write)])
        read = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        values.append(metric(read if metric.vocab is None else read[..., metric.vocab]))
    return torch.stack(values)


def _write(activation: Tensor, hook, *, corrupt: Tensor, position: int) -> Tensor:
    activation[:, position] = corrupt[:, position]
    return activation
