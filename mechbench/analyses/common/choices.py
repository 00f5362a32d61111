"""What a model answers to multiple-choice prompts, and which prompts fail."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import ESTIMATE, estimate
from mechbench.analyses.common.frame import check_size
from mechbench.errors import TaskError
from mechbench.results.choices import (
    ALL,
    ANY_TOKEN,
    ARGMAX,
    ARGMAXES,
    FAILING,
    GOLD_FIRST,
    NOT_FIRST,
)
from mechbench.shapes import PROMPT
from mechbench.tasks.choice_task import ChoiceTask

OTHER = -1  # answered with a token that is no offered label
_ELEMENTS_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class Answers:
    """The next token after each prompt, on the CPU.

    Attributes:
        top: id of the likeliest token, ``[prompt]``.
        log_probs: of each option's label over the whole vocabulary, ``[prompt option]``, in nats
            and float64; minus infinity for options that a prompt does not have.
        other: log-probability of the likeliest token that is no offered label, ``[prompt]``.
        also: log-probabilities of further tokens that were asked for, ``[prompt token]``.
    """

    top: Tensor
    log_probs: Tensor
    other: Tensor
    also: Tensor

    def chosen(self, task: ChoiceTask, argmax: str) -> Tensor:
        """Index of the option that is answered ``[prompt]``, or ``OTHER``.

        Args:
            argmax: over "any token" of the vocabulary, or the "offered labels".
        """
        if argmax != ANY_TOKEN:
            return self.log_probs.argmax(-1)
        is_label = (self.top[:, None] == task.label_ids) & self.log_probs.isfinite()
        return torch.where(is_label.any(-1), is_label.int().argmax(-1), OTHER)

    def by_argmax(self, task: ChoiceTask) -> xr.DataArray:
        """The option that is answered, axes (argmax prompt); ``OTHER`` for other tokens."""
        rows = np.stack([self.chosen(task, argmax).numpy() for argmax in ARGMAXES])
        coords = {ARGMAX: list(ARGMAXES), PROMPT: range(len(task))}
        return xr.DataArray(rows, dims=(ARGMAX, PROMPT), coords=coords)


def require_choices(model, task, *, n: int = 2) -> ChoiceTask:
    """The task, if it is one of multiple choice with at least ``n`` prompts that the model can run.

    Raises:
        TaskError: another task, too few prompts, prompts beyond the context, or prompts of unequal
            length on a model in which padding would change earlier positions.
    """
    if not isinstance(task, ChoiceTask):
        raise TaskError(
            f"This analysis is about multiple-choice questions and got the task {task.name!r}: use "
            "multiple_choice or choices_file."
        )
    check_size(task, n)
    model.check_length(task.clean.shape[1])
    if not model.capabilities.causal and len(set(task.lengths.tolist())) > 1:
        raise TaskError(
            f"{model.cfg.model_name!r} is not causal, and the prompts have "
            f"{int(task.lengths.min())} to {int(task.lengths.max())} tokens: padding would change "
            "what it reads. Select prompts of one length (task.select)."
        )
    return task


@torch.inference_mode()
def answers_of(model, task: ChoiceTask, also: Sequence[int] = ()) -> Answers:
    """What the model answers, prompt by prompt; ``also`` are ids of further tokens to look at."""
    tokens = task.clean.to(model.cfg.device)
    positions = task.answer_positions[:, None].to(model.cfg.device)
    return joined(
        [
            read_answers(task, model.answer_logits(tokens[rows], positions[rows])[:, 0], rows, also)
            for rows in chunks(model, task)
        ]
    )


def read_answers(
    task: ChoiceTask, logits: Tensor, rows: slice = slice(None), also: Sequence[int] = ()
) -> Answers:
    """The answers in next-token logits ``[prompt vocab]`` of some prompts."""
    everything = logits.double().log_softmax(-1).cpu()
    offered = torch.arange(len(task.labels)) < task.n_options[rows, None]
    labels = everything[:, task.label_ids]
    rest = everything.clone()
    rest[:, task.label_ids] = labels.masked_fill(offered, float("-inf"))
    return Answers(
        top=logits.argmax(-1).cpu(),
        log_probs=labels.masked_fill(~offered, float("-inf")),
        other=rest.amax(-1),
        also=everything[:, list(also)],
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers to all prompts from those to some at a time."""
    return Answers(
        *(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Answers)),
    )


def chunks(model, task: ChoiceTask) -> list[slice]:
    """Slices of the prompts that fit in memory at once."""
    cfg = model.cfg
    each = cfg.d_vocab + task.clean.shape[1] * (4 * cfg.d_model + 3 * cfg.d_mlp)
    size = max(1, _ELEMENTS_AT_ONCE // each)
    return [slice(start, start + size) for start in range(0, len(task), size)]


def item_masks(task: ChoiceTask, answers: Answers) -> dict[str, Tensor]:
    """Booleans ``[prompt]`` of the kinds of items that are told apart.

    Failing: the right option is not the first, and the likeliest token of the whole vocabulary is
    the first label.

    Source: Li and Gao 2025.
    """
    first = task.gold == task.anchor
    anchored = answers.top == task.label_ids[task.anchor]
    return {
        FAILING: ~first & anchored,
        GOLD_FIRST: first,
        NOT_FIRST: ~first,
        ALL: torch.ones_like(first),
    }


def some_items(task: ChoiceTask, answers: Answers, items: str) -> Tensor:
    """Indices of the "failing" prompts, or of those with "gold later".

    Raises:
        TaskError: an unknown kind, or fewer than two such prompts; it says how many there are.
    """
    if items not in (FAILING, NOT_FIRST):
        raise TaskError(f"items={items!r} is not known: use {FAILING!r} or {NOT_FIRST!r}.")
    masks = item_masks(task, answers)
    found = masks[items].nonzero().flatten()
    if len(found) >= 2:
        return found
    n, later = len(task), int(masks[NOT_FIRST].sum())
    label = f" {task.labels[task.anchor]}"
    more = (
        f" To look at prompts that do not fail, give items={NOT_FIRST!r}."
        if items == FAILING and later >= 2
        else ""
    )
    raise TaskError(
        f"The task has {n} prompts, in {later} of them the right option is not the first, and "
        f"{int(masks[FAILING].sum())} of these fail: the likeliest token is {label!r}. At least "
        f"two are needed. Use more prompts, other questions or a model that is biased.{more}"
    )


def rate(hits: xr.DataArray, mask: Tensor, *, seed: int) -> xr.DataArray:
    """Share of hits among the prompts of a mask, with its interval; NaN where there are none."""
    among = hits.isel({PROMPT: mask.nonzero().flatten().numpy()}).astype(float)
    if among.sizes[PROMPT] == 0:
        blank = hits.isel({PROMPT: [0]}).astype(float) * np.nan
        return estimate(blank, seed=seed)
    return estimate(among, seed=seed)


def shares(rates: xr.DataArray, meaning: str) -> xr.DataArray:
    """``rates`` with the estimate axis first, as shares of prompts."""
    return rates.transpose(ESTIMATE, ...).assign_attrs(units="share", long_name=meaning)
