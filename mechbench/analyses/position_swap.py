"""Do heads find word i by the position embedding of C_i?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.frame import check_size, choose_swaps, per_prompt, swap_label
from mechbench.analyses.common.heads import head_labels
from mechbench.analyses.common.mover_attention import attention_to_words, mover_run
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import given_or_strongest
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.swaps import position_hook, require_position_embedding
from mechbench.results.position_swap import CONDITIONS, PositionSwap
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def position_swap(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    swaps: Sequence[Sequence[int]] | None = None,
    against: str = "max",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> PositionSwap:
    """Attention of heads to each C_j, and LD, when the positions of two words are exchanged.

    The exchange is a hook in one forward pass; the model's weights are never written.

    Args:
        heads: such as "9.9"; by default the strongest of the head sweep.
        swaps: pairs of words such as [1, 3]; by default every pair.

    Raises:
        UnsupportedHookError: a head outside the model, or no learned positions.
        TaskError: words outside the acronym, fewer than two prompts.

    Source: Garcia-Carrasco et al. 2024, Fig. 12; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    require_position_embedding(model)
    pairs = choose_swaps(task, swaps)
    steps = Steps(len(pairs), progress, checkpoint)
    chosen = given_or_strongest(heads, model, task, seed=seed)
    metric = task.metric(against)
    clean = mover_run(model, task, metric, chosen)
    attention, logit_diff = [], []
    for a, b in pairs:
        words = position_hook(task.frame.capitals[a - 1], task.frame.capitals[b - 1])
        tails = position_hook(task.frame.tails[a - 1], task.frame.tails[b - 1])
        runs = [clean, *(mover_run(model, task, metric, chosen, [hook]) for hook in (words, tails))]
        attention.append(torch.stack([run.attention for run in runs]))
        logit_diff.append(torch.stack([run.logit_diff for run in runs]))
        steps.advance()
    axes = {"swap": [swap_label(pair) for pair in pairs], "condition": list(CONDITIONS)}
    to_words = attention_to_words(torch.stack(attention), task, chosen, **axes)
    ld = per_prompt(torch.stack(logit_diff), task, meaning="LD", **axes)
    return PositionSwap(
        heads=tuple(head_labels(chosen)),
        against=against,
        attention=to_words,
        attention_summary=estimate(to_words, seed=seed),
        logit_diff=ld,
        logit_diff_summary=estimate(ld, seed=seed),
        provenance=clock.provenance(model, task, seed=seed),
    )
