"""Do heads write what they attend to?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.attention import head_activations, pattern_name, rows_of, z_name
from mechbench.analyses.common.estimates import estimate_of, labelled
from mechbench.analyses.common.frame import answer_labels, check_size
from mechbench.analyses.common.heads import Head, head_labels
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import given_or_strongest
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.weights import letter_readout, require_layer_norm
from mechbench.results.copy_scatter import CopyScatter
from mechbench.shapes import ANSWER, HEAD, PROMPT
from mechbench.tasks.acronym_task import AcronymTask

_MOMENT = "moment"


@torch.inference_mode()
def copy_scatter(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CopyScatter:
    """Attention from each answer position to each C_j, against the logit written for letter j.

    Args:
        heads: such as "9.9"; by default the strongest of the head sweep.

    Raises:
        UnsupportedHookError: a head outside the model, or norms other than LayerNorm.
        TaskError: fewer than two prompts.

    Source: Garcia-Carrasco et al. 2024, Fig. 11; fit and control are our choice.
    """
    clock = Clock()
    check_size(task, 2)
    require_layer_norm(model)
    steps = Steps(1, progress, checkpoint)
    chosen = given_or_strongest(heads, model, task, seed=seed)
    layers = sorted({layer for layer, _ in chosen})
    tokens = task.clean.to(model.cfg.device)
    patterns = head_activations(model, tokens, pattern_name, layers)
    rows = rows_of(patterns, chosen, task.frame.answers)[..., list(task.frame.capitals)]
    zs = head_activations(model, tokens, z_name, layers)
    out = _written(model, chosen, zs, task)  # [head prompt query d_model]
    names = head_labels(chosen)
    attention = _points(rows, names, task, units="attention", meaning="attention to C_j")
    written, shuffled = (
        _points(
            torch.einsum(
                "hbqd,bwd->hbqw", out, letter_readout(model, ids.flatten()).unflatten(0, ids.shape)
            ),
            names,
            task,
            units="logits",
            meaning="logit written for letter j",
        )
        for ids in (task.answers.to(tokens.device), task.answers.roll(1, 0).to(tokens.device))
    )
    slope, intercept, correlation = _fits(attention, written, seed)
    slope_control, _, correlation_control = _fits(attention, shuffled, seed)
    steps.finish()
    return CopyScatter(
        heads=tuple(names),
        attention=attention,
        written=written,
        slope=slope,
        intercept=intercept,
        correlation=correlation,
        slope_control=slope_control,
        correlation_control=correlation_control,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _written(model, heads: Sequence[Head], zs: dict[int, Tensor], task: AcronymTask) -> Tensor:
    """Each head's output at the answer positions, ``[head prompt query d_model]``."""
    at = list(task.frame.answers)
    return torch.stack(
        [zs[layer][:, at, head] @ model.blocks[layer].attn.W_O[head] for layer, head in heads]
    )


def _letter_logits(model, out: Tensor, ids: Tensor) -> Tensor:
    """``[head prompt query word]`` for letters ``ids [prompt word]``."""
    directions = letter_readout(model, ids.flatten()).unflatten(0, ids.shape)
    return torch.einsum("hbqd,bwd->hbqw", out, directions)


def _points(values: Tensor, heads: list[str], task: AcronymTask, *, units: str, meaning: str):
    coords = {
        HEAD: heads,
        PROMPT: range(len(task)),
        ANSWER: answer_labels(task),
        "word": [f"C{j}" for j in range(1, len(task.frame.capitals) + 1)],
    }
    points = labelled(values, coords, units=units, meaning=meaning)
    return points.transpose(HEAD, ANSWER, "word", PROMPT)


def _fits(x: xr.DataArray, y: xr.DataArray, seed: int) -> tuple[xr.DataArray, ...]:
    """Least-squares slope, intercept and correlation per head over all points."""
    moments = xr.concat(
        [m.astype(float).mean([ANSWER, "word"]).drop_attrs() for m in (x, y, x * x, y * y, x * y)],
        dim=_MOMENT,
    )

    def parts(means: xr.DataArray):
        mx, my, xx, yy, xy = (means.isel({_MOMENT: i}) for i in range(5))
        return mx, my, xx - mx**2, yy - my**2, xy - mx * my

    def slope(means):
        _, _, var_x, _, cov = parts(means)
        return cov / var_x.where(var_x > 0)

    def intercept(means):
        mx, my, *_ = parts(means)
        return my - slope(means) * mx

    def correlation(means):
        _, _, var_x, var_y, cov = parts(means)
        return cov / (var_x * var_y).where(var_x * var_y > 0) ** 0.5

    units = {"slope": "logits", "intercept": "logits", "correlation": "1"}
    fits = [estimate_of(f, [moments], seed=seed) for f in (slope, intercept, correlation)]
    return tuple(
        fit.assign_attrs(units=unit, long_name=name)
        for fit, (name, unit) in zip(fits, units.items(), strict=True)
    )
