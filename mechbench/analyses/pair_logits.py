"""Does the corruption take the answer away? The model's answers to both prompts of each pair."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.results.pair_logits import RUN, RUNS, PairLogits
from mechbench.shapes import ANSWER, POSITION, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def pair_logits(
    model,
    task: Task,
    *,
    corruption: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> PairLogits:
    """The task's metric and the likeliest tokens, in the clean and in the corrupted run.

    Args:
        corruption: one of ``task.corruptions``; by default the task's usual one.

    Raises:
        TaskError: fewer than two prompts, or an unknown corruption.

    Source: none, our choice; the control is the next prompt's answer.
    """
    clock = Clock()
    check_size(task, 2)
    pairs = task.pairs() if corruption is None else task.pairs(corruption)
    pairs = pairs.to(model.cfg.device)
    model.check_length(pairs.n_positions)
    metric = task.metric().to(model.cfg.device)
    steps = Steps(len(RUNS), progress, checkpoint)
    values, log_probs = [], []
    for tokens in (pairs.clean, pairs.corrupt):
        logits = model.answer_logits(tokens, metric.positions, None)
        values.append(metric(logits if metric.vocab is None else logits[..., metric.vocab]))
        log_probs.append(logits.log_softmax(-1))
        steps.advance()
    by_prompt = {RUN: RUNS, PROMPT: range(len(pairs))}
    measured = labelled(
        torch.stack(values).mean(-1), by_prompt, units=metric.units, meaning=metric.name
    )
    change = measured.sel({RUN: "clean"}, drop=True) - measured.sel({RUN: "corrupted"}, drop=True)
    answers = {**by_prompt, ANSWER: pairs.answer_labels}
    stacked = torch.stack(log_probs)
    top = stacked.max(-1)
    return PairLogits(
        metric_name=metric.name,
        metric=measured,
        summary=estimate(measured, seed=seed),
        change=estimate(change.assign_attrs(units=metric.units), seed=seed),
        log_prob=labelled(
            _at(stacked, pairs.answers), answers, units="nats", meaning="log-probability"
        ),
        shuffled=labelled(
            _at(stacked, pairs.answers.roll(-1, 0)),
            answers,
            units="nats",
            meaning="log-probability of the next prompt's answer",
        ),
        tokens=_texts(
            model,
            torch.stack([pairs.clean, pairs.corrupt]),
            {**by_prompt, POSITION: range(pairs.n_positions)},
        ),
        answers=_texts(
            model, pairs.answers, {PROMPT: range(len(pairs)), ANSWER: pairs.answer_labels}
        ),
        top_token=_texts(model, top.indices, answers),
        top_prob=labelled(top.values.exp(), answers, units="probability", meaning="probability"),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _at(log_probs: Tensor, ids: Tensor) -> Tensor:
    """``[run prompt answer]`` of ``[run prompt answer vocab]`` at ids ``[prompt answer]``."""
    index = ids.expand(log_probs.shape[:-1])[..., None]
    return log_probs.gather(-1, index)[..., 0]


def _texts(model, ids: Tensor, axes: dict) -> xr.DataArray:
    texts = np.array(token_labels(model, ids.flatten().tolist()), dtype=str).reshape(ids.shape)
    coords = {name: list(labels) for name, labels in axes.items()}
    return xr.DataArray(texts, dims=tuple(axes), coords=coords)
