"""How early the model knows the answer: every residual stream read as if it were the last."""

from pathlib import Path

import numpy as np
import torch

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.lens import Reading, read_residual, residual_streams
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError
from mechbench.results.logit_lens import RESIDUAL, SHOWN, LogitLens
from mechbench.shapes import ANSWER, POSITION, PROMPT
from mechbench.tasks.base import Task


@torch.inference_mode()
def logit_lens(
    model,
    task: Task,
    *,
    n_shown: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> LogitLens:
    """The answer's logit difference, log-probability and rank after every half block.

    Args:
        n_shown: prompts whose likeliest tokens are kept, at least 1.

    Raises:
        TaskError: ``n_shown`` below 1.
        UnsupportedHookError: a model without residual streams under the usual names.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; the control is our choice.
    """
    clock = Clock()
    if n_shown < 1:
        raise TaskError(f"n_shown={n_shown} must be at least 1.")
    pairs = task.pairs().to(model.cfg.device)
    metric = task.metric().to(model.cfg.device)
    streams = residual_streams(model, pairs.clean)
    steps = Steps(len(streams), progress, checkpoint)
    readings, values = [], []
    for resid in streams.values():
        at = torch.take_along_dim(resid, metric.positions[..., None], dim=1)
        values.append(metric(model.read_answers(at, metric.vocab)))
        readings.append(read_residual(model, resid, pairs, n_shown))
        steps.advance()
    axes = {RESIDUAL: list(streams), PROMPT: range(len(pairs)), ANSWER: pairs.answer_labels}
    value = labelled(torch.stack(values), axes, units=metric.units, meaning=metric.name)
    log_prob = _stacked(readings, "log_prob", axes, "nats", "log-probability of the answer")
    shuffled = _stacked(readings, "shuffled", axes, "nats", "log-probability of another answer")
    rank = _stacked(readings, "rank", axes, "1", "tokens with a larger logit than the answer")
    return LogitLens(
        metric_name=metric.name,
        metric=value,
        log_prob=log_prob,
        rank=rank,
        metric_summary=estimate(value.mean(ANSWER, keep_attrs=True), seed=seed),
        log_prob_summary=estimate(log_prob.mean(ANSWER, keep_attrs=True), seed=seed),
        control=estimate(shuffled.mean(ANSWER, keep_attrs=True), seed=seed),
        median_rank=rank.median((PROMPT, ANSWER), keep_attrs=True),
        by_position=_stacked(
            readings,
            "by_position",
            {
                RESIDUAL: list(streams),
                POSITION: pairs.position_labels,
                ANSWER: pairs.answer_labels,
            },
            "nats",
            "mean log-probability of the answer",
        ),
        **_shown(model, readings, list(streams), pairs),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _stacked(readings: list[Reading], name: str, axes: dict, units: str, meaning: str):
    stacked = torch.stack([getattr(reading, name) for reading in readings])
    return labelled(stacked, axes, units=units, meaning=meaning)


def _shown(model, readings: list[Reading], streams: list[str], pairs) -> dict:
    """The likeliest tokens of the first prompts, as text, and the prompts."""
    ids = torch.stack([reading.top_id for reading in readings], 1).cpu()
    probs = torch.stack([reading.top_prob for reading in readings], 1)
    own = pairs.clean[: len(ids)].cpu()
    text = np.array(token_labels(model, ids.flatten().tolist()), dtype=str)
    axes = {SHOWN: range(len(ids)), RESIDUAL: streams, POSITION: pairs.position_labels}
    prompt = np.array(token_labels(model, own.flatten().tolist()), dtype=str)
    return {
        "top_token": labelled(
            text.reshape(ids.shape), axes, units="token", meaning="likeliest token"
        ),
        "top_prob": labelled(probs, axes, units="probability", meaning="of the likeliest token"),
        "tokens": labelled(
            prompt.reshape(own.shape),
            {SHOWN: axes[SHOWN], POSITION: axes[POSITION]},
            units="token",
            meaning="the prompt",
        ),
    }
