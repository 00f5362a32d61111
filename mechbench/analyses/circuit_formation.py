"""When, in training, do a circuit's heads begin to do their work?"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.circuit_search import circuit_search
from mechbench.analyses.common.ablation import ablate, ablated_values, keep_only
from mechbench.analyses.common.behaviour import attention_features
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import all_pairs, clean_metric, per_prompt, with_all_letters
from mechbench.analyses.common.heads import Head, all_heads, head_labels, parse_heads, some_heads
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.weights import letter_scores, require_layer_norm
from mechbench.errors import SpecError
from mechbench.interventions.runs import Runs
from mechbench.models.bundled import bundled_models
from mechbench.models.loading import load_model
from mechbench.results.circuit_formation import CircuitFormation
from mechbench.results.circuit_search import TO_PREVIOUS, TO_WORD
from mechbench.shapes import ANSWER, HEAD
from mechbench.tasks.acronym_task import AcronymTask

_ATTENTION = (TO_WORD, TO_PREVIOUS)


@torch.inference_mode()
def circuit_formation(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    snapshots: Sequence[int] | None = None,
    load: Callable[[int], Any] | None = None,
    method: str = "resample",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitFormation:
    """What the heads of the trained ``model``'s circuit do in each of its training snapshots.

    Args:
        heads: such as "9.9"; by default the circuit that ``circuit_search`` finds in ``model``.
        snapshots: training steps; by default all that ship with a bundled model.
        load: the model of a training step; by default the bundled model's snapshot. One snapshot
            is in memory at a time.

    Raises:
        SpecError: no snapshots, or a model that ships none and no ``load``.
        UnsupportedHookError: a head outside the model, or norms other than LayerNorm.
        TaskError: fewer than two prompts; or none of the model's heads matters.

    Source: our choice.
    """
    clock = Clock()
    require_layer_norm(model)
    given = None if heads is None else some_heads(heads, model)
    at_steps, load = _snapshots(model, snapshots, load)
    pairs, metric = all_pairs(task, method=method, seed=seed), task.metric("max")
    chosen, roles = given, {}
    if chosen is None:
        found = circuit_search(model, task, method=method, n_random=1, seed=seed)
        chosen, roles = parse_heads(found.heads, model), found.roles
    every = all_heads(model)
    n_cells = len(every) + 2
    steps = Steps(len(at_steps) * n_cells, progress, checkpoint)
    rows: list[dict[str, Any]] = []
    for step in at_steps:
        snapshot = load(step)
        full = clean_metric(snapshot, task, metric)
        cells = [keep_only(snapshot, chosen), ablate(every), *(ablate([head]) for head in every)]
        base = torch.from_numpy(full.values)
        runs = Runs(snapshot, pairs)
        values = ablated_values(snapshot, runs, cells, metric, steps, f"step-{step}", base)
        rows.append(
            {
                "parts": torch.stack([base, values[0], values[1]]),
                "effects": values[2:] - base,
                "copying": letter_scores(snapshot, task.spaced_capitals, task.capitals, mlp0=True),
                "attention": [attention_features(snapshot, task)[kind] for kind in _ATTENTION],
            }
        )
    return CircuitFormation(
        heads=tuple(head_labels(chosen)),
        roles=roles,
        chosen_by="circuit search in the trained model" if given is None else "given",
        **_summaries(task, rows, at_steps, chosen, every, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _snapshots(
    model, snapshots: Sequence[int] | None, load: Callable[[int], Any] | None
) -> tuple[list[int], Callable[[int], Any]]:
    source = model.source
    if snapshots is None:
        shipped = [m.snapshots for m in bundled_models() if m.name == source.name]
        snapshots = shipped[0] if source.kind == "bundled" and shipped else ()
    if not snapshots:
        raise SpecError(
            f"{source.name!r} has no training snapshots to follow. Use a bundled model that ships "
            "some ('mechbench models' lists them), or give snapshots=[...] and load=..."
        )
    if load is None and source.kind != "bundled":
        raise SpecError(
            f"{source.name!r} is not a bundled model, so its snapshots cannot be found by step: "
            "give load=, a function from a training step to the model."
        )
    processing: dict[str, Any] = dict.fromkeys(source.processing, True)
    cfg = model.cfg

    def bundled_snapshot(step: int) -> Any:
        return load_model(
            source.name, snapshot=step, dtype=cfg.dtype, device=cfg.device, **processing
        )

    return sorted(set(snapshots)), load or bundled_snapshot


def _summaries(
    task: AcronymTask,
    rows: list[dict[str, Any]],
    at_steps: list[int],
    chosen: Sequence[Head],
    every: Sequence[Head],
    seed: int,
) -> dict[str, xr.DataArray]:
    own = [every.index(head) for head in chosen]
    others = [i for i in range(len(every)) if i not in own]
    names = {HEAD: head_labels(chosen)}
    axis = {"step": at_steps}
    parts = per_prompt(
        torch.stack([row["parts"] for row in rows], 1),
        task,
        meaning="LD",
        part=["full", "circuit", "nothing"],
        **axis,
    )
    correct = with_all_letters((parts.sel(part="full", drop=True) > 0).astype(np.float64))
    effects = torch.stack([row["effects"] for row in rows])
    effect = per_prompt(effects[:, own], task, meaning="LD ablated - LD", **axis, **names)
    copying = torch.stack([row["copying"].flatten() for row in rows])
    attention = torch.stack(
        [torch.stack([row["attention"][k].flatten() for row in rows]) for k in (0, 1)]
    )
    return {
        "accuracy": estimate(correct, seed=seed).assign_attrs(
            units="share", long_name="share of letters predicted"
        ),
        "logit_diff": estimate(with_all_letters(parts), seed=seed),
        "effect": estimate(with_all_letters(effect), seed=seed),
        "effect_control": with_all_letters(
            labelled(
                effects[:, others].mean((1, 2)),
                {**axis, ANSWER: list(parts[ANSWER].values)},
                units="logits",
                meaning="LD ablated - LD, mean over all other heads",
            )
        ),
        "copying": labelled(
            copying[:, own], {**axis, **names}, units="share of rows", meaning="OV diagonal score"
        ),
        "copying_control": labelled(
            copying[:, others].mean(1),
            axis,
            units="share of rows",
            meaning="OV diagonal score, mean over all other heads",
        ),
        "attention": labelled(
            attention[..., own],
            {"kind": list(_ATTENTION), **axis, **names},
            units="attention",
            meaning="mean attention",
        ),
    }
