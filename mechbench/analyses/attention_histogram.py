"""Where heads look when the model predicts a letter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mechbench.analyses.common.attention import head_activations, pattern_name, rows_of
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import answer_labels, check_size
from mechbench.analyses.common.heads import all_heads, head_labels
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import given_or_strongest
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.results.attention_histogram import AttentionHistogram
from mechbench.shapes import ANSWER, HEAD, PROMPT
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def attention_histogram(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> AttentionHistogram:
    """Pattern rows of heads at the answer positions of the clean prompts.

    Args:
        heads: such as "9.9"; by default the strongest of the head sweep (``selection``).

    Raises:
        UnsupportedHookError: a head outside the model.
        TaskError: fewer than two prompts.

    Source: Garcia-Carrasco et al. 2024, Fig. 3; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    steps = Steps(1, progress, checkpoint)
    chosen = given_or_strongest(heads, model, task, seed=seed)
    others = [head for head in all_heads(model) if head not in chosen]
    patterns = head_activations(
        model, task.clean.to(model.cfg.device), pattern_name, range(model.cfg.n_layers)
    )
    rows = rows_of(patterns, chosen, task.frame.answers)
    other_mean = rows_of(patterns, others, task.frame.answers).mean((0, 1)) if others else None
    coords = {
        HEAD: head_labels(chosen),
        PROMPT: range(len(task)),
        ANSWER: answer_labels(task),
        "key": task.frame.labels,
    }
    pattern = labelled(rows, coords, units="attention", meaning="attention weight")
    pattern = pattern.transpose(HEAD, ANSWER, "key", PROMPT)
    steps.finish()
    return AttentionHistogram(
        heads=tuple(head_labels(chosen)),
        pattern=pattern,
        summary=estimate(pattern, seed=seed),
        spread=pattern.std(PROMPT, ddof=1, keep_attrs=True),
        control=labelled(
            torch.full_like(rows[0, 0], float("nan")) if other_mean is None else other_mean,
            {ANSWER: answer_labels(task), "key": task.frame.labels},
            units="attention",
            meaning="mean over all other heads",
        ),
        provenance=clock.provenance(model, task, seed=seed),
    )
