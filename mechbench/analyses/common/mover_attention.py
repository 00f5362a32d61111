"""What heads attend to among the words, and LD, in one run under hooks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.attention import Hooks, pattern_name
from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.frame import answer_labels
from mechbench.analyses.common.heads import Head, head_labels
from mechbench.shapes import ANSWER, HEAD, PROMPT
from mechbench.tasks.acronym_task import AcronymTask
from mechbench.tasks.metrics import Metric


@dataclass(frozen=True)
class MoverRun:
    """``attention [head prompt answer word]`` and ``logit_diff [prompt answer]`` of one run."""

    attention: Tensor
    logit_diff: Tensor


@torch.inference_mode()
def mover_run(
    model, task: AcronymTask, metric: Metric, heads: Sequence[Head], hooks: Hooks = ()
) -> MoverRun:
    """A forward pass of the clean prompts under ``hooks``, which act before anything is read."""
    device = model.cfg.device
    tokens, metric = task.clean.to(device), metric.to(device)
    seen: dict[int, Tensor] = {}

    def read(pattern: Tensor, hook) -> None:
        seen[hook.layer()] = pattern[:, :, list(task.frame.answers)][..., list(task.frame.capitals)]

    readers = [(pattern_name(layer), read) for layer in sorted({layer for layer, _ in heads})]
    with model.hooks(fwd_hooks=[*hooks, *readers]):
        logits = model.answer_logits(tokens, metric.positions, metric.vocab)
    attention = torch.stack([seen[layer][:, head] for layer, head in heads])
    return MoverRun(attention.cpu(), metric(logits).cpu())


def attention_to_words(
    values: Tensor, task: AcronymTask, heads: Sequence[Head], **axes: list[str]
) -> xr.DataArray:
    """Attention ``[*axes head prompt answer word]`` as (head *axes answer word prompt)."""
    coords = {
        **axes,
        HEAD: head_labels(heads),
        PROMPT: range(len(task)),
        ANSWER: answer_labels(task),
        "word": [f"C{j}" for j in range(1, len(task.frame.capitals) + 1)],
    }
    array = labelled(values, coords, units="attention", meaning="attention to C_j")
    return array.transpose(HEAD, *axes, ANSWER, "word", PROMPT)
