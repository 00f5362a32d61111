"""Residual-stream patching: where the information about a letter is, layer by layer."""

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr

from mechbench.analyses.common.controls import RandomDirection
from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.frame import (
    CURRENT_WORD,
    check_size,
    choose_letters,
    clean_metric,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.interventions.runs import Runs
from mechbench.interventions.sweeps import sweep
from mechbench.results.residual_sweep import ResidualSweep
from mechbench.shapes import ANSWER, LAYER, POSITION, PROMPT
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def residual_sweep(
    model,
    task: AcronymTask,
    *,
    corruption: str = CURRENT_WORD,
    letters: Sequence[int] | None = None,
    method: str = "resample",
    against: str = "max",
    control: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ResidualSweep:
    """The effect on each letter of writing the corrupted ``resid_pre`` into the clean run.

    One patch per layer and position; letter i is corrupted and read by itself.

    Args:
        corruption: "current_word", "previous_words" or "previous_letters".
        letters: counted from 1; by default all that the corruption can reach.
        method: how corrupted letters are drawn, as ``task.pairs`` takes it.
        against: "max" or "mean" of the wrong letters.
        control: also patch a random direction of the same length.

    Raises:
        TaskError: an unknown corruption, a letter that it cannot reach, fewer than two prompts.

    Source: Garcia-Carrasco et al. 2024, Figs 1, 4, 7; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    chosen = choose_letters(letters, task, corruption)
    metric = task.metric(against)
    by_letter = {i: task.pairs(corruption, letter=i, method=method, seed=seed) for i in chosen}
    n_cells = model.cfg.n_layers * len(task.frame.labels)
    steps = Steps(n_cells * len(chosen) * (1 + control), progress, checkpoint)
    effects, controls = [], []
    for letter, pairs in by_letter.items():
        runs = Runs(model, pairs)
        patch = {"site": "resid_pre", "axes": (LAYER, POSITION), "runs": runs}
        name = f"residual-{corruption}-{letter}"
        swept = sweep(model, pairs, metric, **patch, **steps.call(name, n_cells))
        effects.append(swept.effect.isel({ANSWER: letter - 1}))
        if control:
            hooks = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
            runs.need("clean", hooks)
            source = RandomDirection(runs["clean"], seed)
            call = steps.call(f"{name}-control", n_cells)
            swept = sweep(model, pairs, metric, **patch, source=source, **call)
            controls.append(swept.effect.isel({ANSWER: letter - 1}))
    effect = _joined(effects, task.frame.labels)
    return ResidualSweep(
        corruption=corruption,
        method=method,
        against=against,
        effect=effect,
        summary=estimate(effect, seed=seed),
        control=estimate(_joined(controls, task.frame.labels), seed=seed) if control else None,
        base=clean_metric(model, task, metric),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _joined(effects: Sequence[xr.DataArray], positions: Sequence[str]) -> xr.DataArray:
    joined = xr.concat(effects, dim=ANSWER).assign_coords({POSITION: list(positions)})
    joined = joined.transpose(ANSWER, LAYER, POSITION, PROMPT)
    return joined.assign_attrs(units="logits", long_name="LD patched - LD clean")
