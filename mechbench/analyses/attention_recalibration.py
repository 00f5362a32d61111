"""What a model answers when heads exchange their attention to the first and the right label."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.attention import pattern_name
from mechbench.analyses.common.choices import (
    Answers,
    answers_of,
    chunks,
    joined,
    read_answers,
    require_choices,
    some_items,
)
from mechbench.analyses.common.controls import random_head_sets
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.gaps import GapReader, final_stream, last_activations
from mechbench.analyses.common.halves import calibration_and_test
from mechbench.analyses.common.head_weights import require_plain_heads
from mechbench.analyses.common.heads import Head, all_heads, head_labels, some_heads
from mechbench.analyses.common.label_attention import Places, brought, places
from mechbench.analyses.common.label_edits import (
    by_items,
    item_counts,
    masks_of,
    right_probability,
    scored,
)
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.attention_recalibration import (
    HEADS,
    LABELS_SWAPPED,
    OTHERS_SWAPPED,
    RANDOM_HEADS,
    SWAP,
    UNCHANGED,
    AttentionRecalibration,
)
from mechbench.results.choice_heads import AT_FIRST, AT_RIGHT, PLACE
from mechbench.results.choices import FAILING, ITEMS
from mechbench.shapes import PROMPT
from mechbench.tasks.choice_task import ChoiceTask

_STATEMENT = (
    "Swapping uses each prompt's right label: it shows whether these heads read labels at the last "
    "position, not a correction that could be applied without knowing the answer."
)


@torch.inference_mode()
def attention_recalibration(
    model,
    task: ChoiceTask,
    *,
    heads: Sequence[Any] | None = None,
    counts: Sequence[int] = (1, 2, 4, 8),
    at: str = "label",
    calibration_share: float = 0.5,
    n_random: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> AttentionRecalibration:
    """Accuracy and bias when the strongest heads exchange two entries of their pattern.

    In each head the weights of the last position on the first label and on the right one are
    exchanged (rows still sum to 1); on prompts whose right option is the first nothing changes.

    Args:
        heads: such as "9.9", the strongest first; by default those that bring the largest direct
            gap from the first label on the calibration part's failing prompts.
        counts: how many of them are swapped together; more than there are are left out.
        at: positions of the "label" or of the end of the "option".
        calibration_share: of the prompts, on which heads are chosen; the others are the test.
        n_random: draws of random heads.

    Raises:
        TaskError: another task than multiple choice, too few prompts or failing ones on a side, or
            an option out of range.
        UnsupportedHookError: a head outside the model, or heads without patterns or that do not
            write straight into the residual stream.

    Source: Li and Gao 2025; that pattern entries are exchanged, how heads are chosen and the
        controls are our choice.
    """
    clock = Clock()
    task = require_choices(model, task, n=4)
    if not counts or min(counts) < 1 or n_random < 1:
        raise TaskError(f"counts={list(counts)} and n_random={n_random} must be 1 or more.")
    require_hooks(model, [pattern_name(layer) for layer in range(model.cfg.n_layers)])
    calibration, test = calibration_and_test(task, calibration_share, seed=seed)
    where = places(test, at, seed)
    unchanged = answers_of(model, test)
    failing = some_items(test, unchanged, FAILING)
    gap, n_calibration = None, 0
    if heads is None:
        ranked, gap, n_calibration = _strongest(model, calibration, at, seed, max(counts))
    else:
        ranked = some_heads(heads, model)
    sizes = sorted({n for n in counts if n <= len(ranked)}) or [len(ranked)]
    steps = Steps(len(sizes) * (2 + n_random), progress, checkpoint)
    swaps = _Swaps(model, test, steps)
    by_size = [_of_size(swaps, where, ranked[:n], n_random, seed) for n in sizes]
    found = {UNCHANGED: [[unchanged] for _ in sizes]}
    found |= {kind: [of_size[kind] for of_size in by_size] for kind in by_size[0]}
    masks = masks_of(test, unchanged)
    return AttentionRecalibration(
        heads=tuple(head_labels(ranked)),
        chosen=heads is None,
        gap=gap,
        n_calibration=n_calibration,
        n_random=n_random,
        at=at,
        statement=_STATEMENT,
        rates=by_items(_table(found, sizes, test, scored), masks, seed=seed).transpose(
            "estimate", "measure", SWAP, HEADS, "argmax", ITEMS
        ),
        probability=by_items(_table(found, sizes, test, right_probability), masks, seed=seed),
        attention=_attention(model, test.select(failing), at, ranked, seed),
        n=item_counts(masks),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _strongest(
    model, task: ChoiceTask, at: str, seed: int, n: int
) -> tuple[tuple[Head, ...], xr.DataArray, int]:
    """The heads that bring the largest gap from the first label, their gaps, and on how many."""
    require_plain_heads(model)
    chosen = task.select(some_items(task, answers_of(model, task), FAILING))
    stream = last_activations(model, chosen, [final_stream(model)])[final_stream(model)]
    reader, first = GapReader(model, chosen, stream), places(chosen, at, seed).first[None]
    gaps = torch.stack(
        [
            reader.direct(brought(model, chosen, layer, first)[0][0]).mean(0)
            for layer in range(model.cfg.n_layers)
        ]
    ).flatten()
    order = gaps.argsort(descending=True, stable=True)[:n].tolist()
    heads = tuple(all_heads(model)[i] for i in order)
    gap = labelled(
        gaps[order], {HEADS: head_labels(heads)}, units="logits", meaning="first minus right label"
    )
    return heads, gap, len(chosen)


class _Swaps:
    """Answers of the test prompts while some heads exchange two entries of the last row."""

    def __init__(self, model, task: ChoiceTask, steps: Steps):
        self.model, self.task, self.steps = model, task, steps
        self.tokens = task.clean.to(model.cfg.device)
        self.last = task.answer_positions.to(model.cfg.device)

    def under(self, heads: Sequence[Head], one: Tensor, other: Tensor) -> Answers:
        """The answers when positions ``one`` and ``other [prompt]`` exchange their weights."""
        by_layer: dict[int, list[int]] = {}
        for layer, head in heads:
            by_layer.setdefault(layer, []).append(head)
        parts = []
        for rows in chunks(self.model, self.task):
            last = self.last[rows]
            pair = one[rows].to(last.device), other[rows].to(last.device)
            hooks = [
                (pattern_name(layer), _swapper(chosen, last, *pair))
                for layer, chosen in by_layer.items()
            ]
            with self.model.hooks(fwd_hooks=hooks):
                logits = self.model.answer_logits(self.tokens[rows], last[:, None])
            parts.append(read_answers(self.task, logits[:, 0], rows))
        self.steps.advance()
        return joined(parts)


def _swapper(heads: list[int], last: Tensor, one: Tensor, other: Tensor) -> Callable:
    each = torch.arange(len(last), device=last.device)

    def swap(pattern: Tensor, hook) -> Tensor:
        pattern = pattern.clone()
        for head in heads:
            left, right = pattern[each, head, last, one], pattern[each, head, last, other]
            pattern[each, head, last, one], pattern[each, head, last, other] = right, left
        return pattern

    return swap


def _of_size(
    swaps: _Swaps, where: Places, heads: Sequence[Head], n_random: int, seed: int
) -> dict[str, list[Answers]]:
    others = tuple(head for head in all_heads(swaps.model) if head not in heads)
    draws = random_head_sets(others or tuple(heads), len(heads), n_random, seed=seed)
    return {
        LABELS_SWAPPED: [swaps.under(heads, where.first, where.right)],
        RANDOM_HEADS: [swaps.under(draw, where.first, where.right) for draw in draws],
        OTHERS_SWAPPED: [swaps.under(heads, where.random, where.random_too)],
    }


def _table(
    found: dict[str, list[list[Answers]]], sizes: list[int], task: ChoiceTask, read: Callable
) -> xr.DataArray:
    """Values per prompt, with the axes swap and heads."""
    rows = [
        xr.concat([read(answers, task) for answers in of_kind], dim=HEADS)
        for of_kind in found.values()
    ]
    return xr.concat(rows, dim=SWAP).assign_coords({SWAP: list(found), HEADS: sizes})


def _attention(model, task: ChoiceTask, at: str, heads: Sequence[Head], seed: int) -> xr.DataArray:
    """Weights on both labels (estimate place heads)."""
    where = places(task, at, seed)
    positions = torch.stack([where.first, where.right])
    weights = {
        layer: brought(model, task, layer, positions)[1] for layer in {layer for layer, _ in heads}
    }
    stacked = torch.stack([weights[layer][..., head] for layer, head in heads], -1)
    axes = {PLACE: [AT_FIRST, AT_RIGHT], PROMPT: range(len(task)), HEADS: head_labels(heads)}
    return estimate(labelled(stacked, axes, units="attention", meaning="weight"), seed=seed)
