"""Do earlier words carry their position as attention to BOS?"""

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr

from mechbench.analyses.common.attention import pattern_name
from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.frame import (
    all_pairs,
    choose_swaps,
    clean_metric,
    per_prompt,
    swap_label,
)
from mechbench.analyses.common.heads import all_heads
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.swaps import column_swapped
from mechbench.interventions.engine import run_patches
from mechbench.interventions.patches import Cell, Patch
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site
from mechbench.interventions.sources import Value
from mechbench.results.bos_swap import BOSSwap
from mechbench.shapes import ANSWER, HEAD, LAYER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask

_BOS, _AFTER_BOS = 0, 1


@torch.inference_mode()
def bos_swap(
    model,
    task: AcronymTask,
    *,
    swaps: Sequence[Sequence[int]] | None = None,
    against: str = "max",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> BOSSwap:
    """The effect on LD of exchanging one head's attention to BOS between rows C_a and C_b.

    For the patched head the whole column of key 0 is written from the clean run with the two
    entries exchanged; rows are not normalised again.

    Args:
        swaps: pairs of words such as [1, 3]; by default every pair.

    Raises:
        TaskError: words outside the acronym, fewer than two prompts.

    Source: Garcia-Carrasco et al. 2024, Fig. 13; the control is our choice.
    """
    clock = Clock()
    pairs = choose_swaps(task, swaps)
    runs = Runs(model, all_pairs(task, seed=seed))
    runs.need("clean", [pattern_name(layer) for layer in range(model.cfg.n_layers)])
    metric = task.metric(against)
    n_cells = len(pairs) * model.cfg.n_layers * model.cfg.n_heads
    steps = Steps(2 * n_cells, progress, checkpoint)
    base = clean_metric(model, task, metric)

    def effects(key: int, name: str) -> xr.DataArray:
        cells = [c for a, b in pairs for c in _cells(model, task, runs, a, b, key)]
        patched = run_patches(
            model, runs.pairs, cells, metric, runs=runs, **steps.call(name, n_cells)
        )
        sizes = (len(pairs), model.cfg.n_layers, model.cfg.n_heads)
        values = per_prompt(
            patched.values.unflatten(0, sizes) - patched.base,
            task,
            meaning="LD swapped - LD clean",
            swap=[swap_label(pair) for pair in pairs],
            layer=range(model.cfg.n_layers),
            head=range(model.cfg.n_heads),
        )
        return values.transpose("swap", ANSWER, LAYER, HEAD, PROMPT)

    effect, control = effects(_BOS, "bos"), effects(_AFTER_BOS, "control")
    return BOSSwap(
        against=against,
        effect=effect,
        summary=estimate(effect, seed=seed),
        control=estimate(control, seed=seed),
        base=base,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _cells(model, task: AcronymTask, runs: Runs, a: int, b: int, key: int) -> list[Cell]:
    rows = task.frame.capitals[a - 1], task.frame.capitals[b - 1]
    sources = [
        Value(column_swapped(runs["clean"][pattern_name(layer)], *rows, key))
        for layer in range(model.cfg.n_layers)
    ]
    return [
        (Patch(Site("pattern", layer, head=head, key=key), sources[layer]),)
        for layer, head in all_heads(model)
    ]
