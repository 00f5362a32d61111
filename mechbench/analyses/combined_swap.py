"""Position embedding against attention to BOS: which of them sends movers to word i?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.bos_swap import bos_swap
from mechbench.analyses.common.attention import head_activations, pattern_name
from mechbench.analyses.common.controls import random_head_sets
from mechbench.analyses.common.estimates import ESTIMATE, estimate, labelled
from mechbench.analyses.common.frame import (
    answer_labels,
    check_size,
    choose_swaps,
    per_prompt,
    swap_label,
)
from mechbench.analyses.common.heads import Head, all_heads, head_labels
from mechbench.analyses.common.mover_attention import attention_to_words, mover_run
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import given_or_strongest
from mechbench.analyses.common.steps import Progress
from mechbench.analyses.common.swaps import (
    column_hooks,
    column_swapped,
    position_hook,
    require_position_embedding,
)
from mechbench.errors import TaskError
from mechbench.results.bos_swap import BOSSwap
from mechbench.results.combined_swap import CONDITIONS, CombinedSwap
from mechbench.shapes import ANSWER, HEAD, LAYER
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def combined_swap(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    swaps: Sequence[Sequence[int]] | None = None,
    threshold: float = 0.005,
    n_random: int = 10,
    against: str = "max",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CombinedSwap:
    """Attention of heads and LD: clean, POS, BOS, and POS+BOS, for pairs of words.

    Args:
        heads: whose attention is read, such as "9.9"; by default the strongest of the head sweep.
        swaps: pairs of words such as [1, 3]; by default every pair.
        threshold: logits; a head is BOS-swapped where its own swap costs some letter more.
        n_random: random head sets for the control.

    Raises:
        UnsupportedHookError: a head outside the model, or no learned positions.
        TaskError: words outside the acronym, a negative threshold, fewer than two prompts.

    Source: Garcia-Carrasco et al. 2024, Fig. 14; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    require_position_embedding(model)
    if threshold < 0 or n_random < 1:
        raise TaskError(f"threshold={threshold} must be at least 0 and n_random={n_random} 1.")
    pairs = choose_swaps(task, swaps)
    chosen = given_or_strongest(heads, model, task, seed=seed)
    metric = task.metric(against)
    single = bos_swap(
        model,
        task,
        swaps=pairs,
        against=against,
        seed=seed,
        progress=progress,
        checkpoint=None if checkpoint is None else Path(checkpoint) / "bos-swap",
    )
    patterns = head_activations(
        model, task.clean.to(model.cfg.device), pattern_name, range(model.cfg.n_layers)
    )
    clean = mover_run(model, task, metric, chosen)
    layers_axis, heads_axis = range(model.cfg.n_layers), range(model.cfg.n_heads)
    runs, controls, masks = [], [], []
    for index, (a, b) in enumerate(pairs):
        moved = _moved_heads(single, index, threshold)
        masks.append([[(l, h) in moved for h in heads_axis] for l in layers_axis])
        rows = task.frame.capitals[a - 1], task.frame.capitals[b - 1]
        swapped = {layer: column_swapped(p, *rows) for layer, p in patterns.items()}
        pos, bos = [position_hook(*rows)], column_hooks(swapped, moved)
        runs.append(
            [clean, *(mover_run(model, task, metric, chosen, h) for h in (pos, bos, pos + bos))]
        )
        controls.append(_control(model, task, metric, chosen, swapped, moved, n_random, seed))
    axes = {"swap": [swap_label(pair) for pair in pairs], "condition": list(CONDITIONS)}
    attention = torch.stack([torch.stack([run.attention for run in row]) for row in runs])
    to_words = attention_to_words(attention, task, chosen, **axes)
    logit_diff = torch.stack([torch.stack([run.logit_diff for run in row]) for row in runs])
    ld = per_prompt(logit_diff, task, meaning="LD", **axes)
    return CombinedSwap(
        heads=tuple(head_labels(chosen)),
        threshold=float(threshold),
        against=against,
        swapped=labelled(
            np.array(masks, dtype=np.int64),
            {"swap": axes["swap"], LAYER: layers_axis, HEAD: heads_axis},
            units="1",
            meaning="head is BOS-swapped",
        ),
        attention=to_words,
        attention_summary=estimate(to_words, seed=seed),
        logit_diff=ld,
        logit_diff_summary=estimate(ld, seed=seed),
        control=labelled(
            torch.stack(controls),
            {
                "swap": axes["swap"],
                "draw": range(n_random),
                HEAD: head_labels(chosen),
                ANSWER: answer_labels(task),
                "word": list(to_words.word.values),
            },
            units="attention",
            meaning="mean attention with random heads BOS-swapped",
        ).transpose(HEAD, "swap", ANSWER, "word", "draw"),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _control(model, task, metric, chosen, swapped, moved, n_random, seed) -> Tensor:
    """Mean attention ``[draw head answer word]`` with other heads swapped, NaN if too few."""
    others = tuple(head for head in all_heads(model) if head not in moved)
    draws = random_head_sets(others, len(moved), n_random, seed=seed)
    runs = [mover_run(model, task, metric, chosen, column_hooks(swapped, draw)) for draw in draws]
    attention = torch.stack([run.attention.mean(1) for run in runs])
    return attention if len(moved) <= len(others) else attention * float("nan")


def _moved_heads(single: BOSSwap, swap: int, threshold: float) -> tuple[Head, ...]:
    worst = single.summary.sel({ESTIMATE: "mean"}).isel(swap=swap).min(ANSWER)
    hit = worst.transpose(LAYER, HEAD).values < -threshold
    return tuple((int(l), int(h)) for l, h in np.argwhere(hit))
