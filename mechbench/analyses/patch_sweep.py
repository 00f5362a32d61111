"""Activation patching on any task: which heads, or which layers and positions, matter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import xarray as xr

from mechbench.analyses.common.controls import RandomDirection
from mechbench.analyses.common.estimates import estimate, estimate_share
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import SITES
from mechbench.interventions.sources import Source
from mechbench.interventions.sweeps import sweep
from mechbench.results.io import PARTIAL_FOLDER
from mechbench.results.patch_sweep import PatchSweep
from mechbench.shapes import ANSWER, HEAD, LAYER, POSITION, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def patch_sweep(
    model,
    task: Task,
    *,
    site: Literal["z", "q", "k", "v", "resid_pre", "resid_mid", "attn_out", "mlp_out"] = "z",
    direction: Literal["noise", "denoise"] = "noise",
    corruption: str | None = None,
    position: int | str | None = None,
    control: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> PatchSweep:
    """The effect of patching a site at every layer and head, or at every layer and position.

    Args:
        site: of heads (z, q, k, v; by head), or of the residual stream (by position).
        direction: "noise" writes the corrupted run into the clean one, "denoise" the reverse.
        corruption: one of ``task.corruptions``; by default the task's usual one.
        position: of a head's site, a position or a span of the task; None means all.
        control: also write a random direction of the same length.
        checkpoint: its folder "so-far" holds, after each layer, the result as far as it is known.

    Raises:
        TaskError: fewer than two prompts, or an unknown corruption.
        UnsupportedHookError: a model without the site, a span that the task does not have.

    Source: Meng et al. 2022 (denoising), Wang et al. 2022 (noising); ``share`` is
        the normalisation of Zhang and Nanda 2024; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    pairs = task.pairs() if corruption is None else task.pairs(corruption)
    metric = task.metric()
    n_layers = model.cfg.n_layers
    hooks = [f"blocks.{layer}.{SITES[site][0]}" for layer in range(n_layers)]
    require_hooks(model, hooks)
    runs = Runs(model, pairs, direction)
    other = _metric_of(runs, metric, "corrupt" if direction == "noise" else "clean")
    sources = _sources(runs, direction, hooks, control, seed)
    place = HEAD if "head" in SITES[site][1] else POSITION
    patch: dict[str, Any] = {"site": site, "axes": (LAYER, place), "direction": direction}
    if place == HEAD:
        patch["position"] = position
    n_places = pairs.n_positions if place == POSITION else _n_heads(model, site)
    steps = Steps(n_layers * n_places * len(sources), progress, checkpoint)
    rows: list[list[xr.DataArray]] = [[] for _ in sources]
    result = None
    for layer in range(n_layers):
        for name, source in enumerate(sources):
            swept = sweep(
                model,
                pairs,
                metric,
                **patch,
                source=source,
                coordinates={LAYER: [layer]},
                runs=runs,
                **steps.call(f"{site}-{layer}-{name}", n_places),
            )
            rows[name].append(swept.effect.mean(ANSWER, keep_attrs=True))
        effects = [_joined(part, place, pairs.position_labels) for part in rows]
        base = swept.base.mean(ANSWER, keep_attrs=True)
        effect, summary = effects[0], estimate(effects[0], seed=seed)
        share = estimate_share(base + effect, base, other, seed=seed)
        controls = estimate(effects[1], seed=seed) if control else None
        result = PatchSweep(
            site=site,
            direction=direction,
            corruption=str(pairs.source.get("corruption", corruption or "corrupted")),
            metric_name=metric.name,
            effect=_all_layers(effect, n_layers),
            summary=_all_layers(summary, n_layers),
            share=_all_layers(share.transpose(*summary.dims), n_layers),
            control=None if controls is None else _all_layers(controls, n_layers),
            base=base,
            other=other,
            provenance=clock.provenance(model, task, seed=seed),
        )
        if checkpoint is not None:
            result.save(Path(checkpoint) / PARTIAL_FOLDER)
    assert result is not None
    return result


def _sources(
    runs: Runs, direction: str, hooks: Sequence[str], control: bool, seed: int
) -> list[Source | None]:
    if not control:
        return [None]
    runs.need(runs.base, hooks)
    random = RandomDirection(
        runs.base_run, seed, run="corrupt" if direction == "noise" else "clean"
    )
    return [None, random]


def _metric_of(runs: Runs, metric: Any, run: str) -> xr.DataArray:
    """The metric of a run without patches, (prompt)."""
    metric = metric.to(runs.model.cfg.device)
    values = metric(runs.model.answer_logits(runs.tokens(run), metric.positions, metric.vocab))
    return xr.DataArray(
        values.mean(-1).cpu().numpy(),
        dims=(PROMPT,),
        coords={PROMPT: range(len(runs.pairs))},
        attrs={"units": metric.units, "long_name": metric.name},
    )


def _n_heads(model, site: str) -> int:
    shared = site in ("k", "v")
    return (model.cfg.n_key_value_heads or model.cfg.n_heads) if shared else model.cfg.n_heads


def _joined(rows: list[xr.DataArray], place: str, labels: Sequence[str]) -> xr.DataArray:
    joined = xr.concat(rows, dim=LAYER)
    if place == POSITION:
        joined = joined.assign_coords({POSITION: list(labels)})
    units = rows[0].attrs["units"]
    return joined.assign_attrs(units=units, long_name="metric patched - unpatched")


def _all_layers(values: xr.DataArray, n_layers: int) -> xr.DataArray:
    return values.reindex({LAYER: list(range(n_layers))})
