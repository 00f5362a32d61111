"""The logit lens on one prompt: likeliest tokens and the answer's rank, stream by stream."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.lens import residual_streams
from mechbench.analyses.common.one_prompt import prompt_tokens
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError
from mechbench.results.lens_view import RANK, RESIDUAL, LensView
from mechbench.shapes import ANSWER, POSITION
from mechbench.tasks.base import Task


@torch.inference_mode()
def lens_view(
    model,
    task: Task,
    *,
    prompt: int = 0,
    run: Literal["clean", "corrupted"] = "clean",
    n_tokens: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> LensView:
    """Every residual stream of one prompt, read by the final norm and the unembedding.

    Args:
        prompt: its number among those of the task.
        run: the clean prompt, or the corrupted one of the same pair; answers are the clean one's.
        n_tokens: how many of the likeliest tokens are kept, at least 1.

    Raises:
        TaskError: fewer than two prompts (the next one's answers are the control), a prompt or run
            that is not there, ``n_tokens`` below 1.
        UnsupportedHookError: a model without residual streams under the usual names.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    if n_tokens < 1:
        raise TaskError(f"n_tokens={n_tokens} must be at least 1.")
    tokens = prompt_tokens(model, task, prompt, run)
    pairs = task.pairs()
    own = pairs.answers[prompt].to(tokens)
    other = pairs.answers[(prompt + 1) % len(pairs)].to(tokens)
    streams = residual_streams(model, tokens)
    steps = Steps(len(streams), progress, checkpoint)
    ids, probs, ranks, log_probs, controls = [], [], [], [], []
    for resid in streams.values():
        (logits,) = model.read_answers(resid)
        likely = logits.log_softmax(-1)
        top = likely.topk(min(n_tokens, likely.shape[-1]), dim=-1)
        ids.append(top.indices)
        probs.append(top.values.exp())
        log_probs.append(likely[:, own])
        ranks.append(_ranks(logits, own))
        controls.append(_ranks(logits, other))
        steps.advance()
    cells = {RESIDUAL: list(streams), POSITION: range(tokens.shape[1])}
    by_rank = {**cells, RANK: range(1, ids[0].shape[-1] + 1)}
    by_answer = {**cells, ANSWER: pairs.answer_labels}
    answers = {ANSWER: pairs.answer_labels}
    said = "tokens with a larger logit"
    return LensView(
        prompt=prompt,
        run=run,
        top_token=_texts(model, torch.stack(ids), by_rank),
        top_prob=labelled(torch.stack(probs), by_rank, units="probability", meaning="probability"),
        answer_rank=labelled(torch.stack(ranks), by_answer, units="1", meaning=said),
        log_prob=labelled(
            torch.stack(log_probs), by_answer, units="nats", meaning="log-probability"
        ),
        control_rank=labelled(torch.stack(controls), by_answer, units="1", meaning=said),
        tokens=_texts(model, tokens[0], {POSITION: cells[POSITION]}),
        answers=_texts(model, own, answers),
        read_at=labelled(pairs.answer_positions[prompt], answers, units="1", meaning="position"),
        provenance=clock.provenance(model, task, seed=seed, notes=(f"prompt {prompt}, {run}",)),
    )


def _ranks(logits: Tensor, ids: Tensor) -> Tensor:
    """``[pos answer]``: how many tokens of logits ``[pos vocab]`` are above ``ids [answer]``."""
    return torch.stack([(logits > logits[:, [i]]).sum(-1) for i in ids.tolist()], dim=-1)


def _texts(model, ids: Tensor, axes: dict) -> xr.DataArray:
    texts = np.array(token_labels(model, ids.flatten().tolist()), dtype=str)
    coords = {name: list(labels) for name, labels in axes.items()}
    return xr.DataArray(texts.reshape(ids.shape), dims=tuple(axes), coords=coords)
