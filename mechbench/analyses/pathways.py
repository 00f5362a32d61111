"""What sub-models of sampled sources still do, alone and together."""

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.pathway_scores import Scores, SubModels
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.models.pathways import FORMS, check_sampling, require_samplable
from mechbench.results.pathways import DRAW, FORM, KEPT, MEMBERS, Pathways
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def pathways(
    model,
    task: Task,
    *,
    kept: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
    forms: Sequence[str] = FORMS,
    n_draws: int = 8,
    form: str = "unbiased",
    ensemble_kept: float = 0.7,
    sizes: Sequence[int] = (1, 2, 4, 8, 16),
    sigma: float = 0.5,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Pathways:
    """Loss and metric by share of sources drawn, by number of sub-models, and by layer.

    Args:
        kept: shares of the sources, for every form of ``forms``.
        n_draws: seeded draws of each sub-model, and of each ensemble.
        form, ensemble_kept: of the ensembles' members and of the sampled layers.
        sizes: members of the ensembles; of one draw a smaller one is part of a larger one.
        sigma: noise of the local form, in blocks.

    Raises:
        TaskError: fewer than two prompts or draws, or no shares, forms or sizes.
        SpecError: a form or a share that means nothing.
        UnsupportedHookError: a model without plain causal attention in every layer.

    Source: Hussain et al. 2023 for the questions; the ends and the draws are our choice.
    """
    clock = Clock()
    if len(task) < 2 or n_draws < 2 or not kept or not forms or min(sizes, default=0) < 1:
        raise TaskError(
            f"{len(task)} prompts, n_draws={n_draws}, kept={list(kept)}, forms={list(forms)} and "
            f"sizes={list(sizes)}: pathways needs at least two prompts, two draws, a share, a form "
            "and ensembles of one member or more."
        )
    for name, share in [
        *((name, share) for name in forms for share in kept),
        (form, ensemble_kept),
    ]:
        check_sampling(name, share, sigma)
    require_samplable(model)
    layers = range(model.cfg.n_layers)
    models = SubModels(model, task, sigma, seed)
    draws = range(n_draws)
    steps = Steps(n_draws * (len(forms) * len(kept) + 1 + len(layers)) + 1, progress, checkpoint)
    dense, alone = models.dense(), models.alone()
    steps.advance()

    def sampled(name: str, share: float, only: Sequence[int] | None = None) -> list[Scores]:
        found = []
        for draw in draws:
            found.append(models.sampled(name, share, draw, only))
            steps.advance()
        return found

    def together(draw: int) -> list[Scores]:
        found = models.ensembles(form, ensemble_kept, draw, sizes)
        steps.advance()
        return found

    curve = {FORM: list(forms), KEPT: list(kept), DRAW: draws}
    by_share = [[sampled(name, share) for share in kept] for name in forms]
    metric, loss = _named(models, by_share, curve)
    by_size = list(zip(*(together(draw) for draw in draws), strict=True))
    sized = _named(models, by_size, {MEMBERS: list(sizes), DRAW: draws})
    by_layer = [sampled(form, ensemble_kept, [layer]) for layer in layers]
    single = _named(models, by_layer, {LAYER: layers, DRAW: draws})
    ends = [_named(models, end, {PROMPT: range(len(task))}, mean=False) for end in (dense, alone)]
    return Pathways(
        metric_name=models.metric.name,
        metric_units=models.metric.units,
        n_draws=n_draws,
        form=form,
        kept=ensemble_kept,
        sigma=sigma,
        metric=estimate(metric, seed=seed, dim=DRAW),
        loss=estimate(loss, seed=seed, dim=DRAW),
        by_draw=metric,
        ensemble_metric=estimate(sized[0], seed=seed, dim=DRAW),
        ensemble_loss=estimate(sized[1], seed=seed, dim=DRAW),
        layer_metric=estimate(single[0], seed=seed, dim=DRAW),
        layer_loss=estimate(single[1], seed=seed, dim=DRAW),
        dense=estimate(ends[0][0], seed=seed),
        dense_loss=estimate(ends[0][1], seed=seed),
        alone=estimate(ends[1][0], seed=seed),
        alone_loss=estimate(ends[1][1], seed=seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _named(models: SubModels, scores, axes: dict, *, mean: bool = True) -> list[xr.DataArray]:
    """Metric and loss of nested lists of scores, as arrays of these axes.

    ``mean`` is over prompts; otherwise they are an axis.
    """
    about = {
        "metric": {"units": models.metric.units, "meaning": models.metric.name},
        "loss": {"units": "nats", "meaning": "cross-entropy of the answers"},
    }

    def values(nested, name: str) -> torch.Tensor:
        if isinstance(nested, Scores):
            found = getattr(nested, name)
            return found.mean() if mean else found
        return torch.stack([values(part, name) for part in nested])

    return [labelled(values(scores, name), axes, **about[name]) for name in about]
