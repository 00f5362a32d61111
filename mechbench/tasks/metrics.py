"""Metrics: numbers per prompt and answer, computed from the few logits that they say they read."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.pairs import PromptPairs

GROUP_KINDS = ("prob_diff", "logit_diff")


class Metric(Protocol):
    """What the engine asks of a metric.

    Attributes:
        name, units: for results; positive means that the model favours the correct answer.
        positions: where logits are read, ``[prompt answer]``.
        vocab: which tokens are projected, ``[subset]``; None means all of them.
    """

    @property
    def name(self) -> str: ...
    @property
    def units(self) -> str: ...
    @property
    def positions(self) -> Tensor: ...
    @property
    def vocab(self) -> Tensor | None: ...

    def __call__(self, logits: Tensor) -> Tensor:
        """``[*cells prompt answer]`` from logits ``[*cells prompt answer subset]``."""
        ...

    def to(self, device: torch.device | str) -> "Metric": ...


@dataclass(frozen=True)
class LogitDifference:
    """logit(correct) minus the maximum or the mean of the wrong answers' logits, in logits.

    Source: with ``against="max"`` and the 25 other capitals, Garcia-Carrasco et al. 2024;
    with one wrong answer, Wang et al. 2022.
    """

    name: str
    units: str
    positions: Tensor
    vocab: Tensor
    correct: Tensor
    wrong: Tensor
    against: str

    def __call__(self, logits: Tensor) -> Tensor:
        expand = logits.shape[:-1]
        correct = logits.gather(-1, self.correct[..., None].expand(*expand, 1))[..., 0]
        wrong = logits.gather(-1, self.wrong.expand(*expand, self.wrong.shape[-1]))
        return correct - (wrong.amax(-1) if self.against == "max" else wrong.mean(-1))

    def to(self, device: torch.device | str) -> "LogitDifference":
        tensors = (self.positions, self.vocab, self.correct, self.wrong)
        positions, vocab, correct, wrong = (t.to(device) for t in tensors)
        return LogitDifference(
            self.name, self.units, positions, vocab, correct, wrong, self.against
        )


def logit_difference(pairs: PromptPairs, wrong: Tensor, against: str = "max") -> LogitDifference:
    """The logit difference of a task's answers against ``wrong`` ids ``[prompt answer n_wrong]``.

    Raises:
        TaskError: ``against`` is neither ``"max"`` nor ``"mean"``, the shapes differ, or a wrong
            answer equals the correct one.
    """
    if against not in ("max", "mean"):
        raise TaskError(f"against={against!r} is not known: use 'max' or 'mean'.")
    if wrong.shape[:2] != pairs.answers.shape or wrong.dim() != 3 or wrong.shape[2] == 0:
        raise TaskError(
            f"wrong answers must be [prompt answer n_wrong] = {[*pairs.answers.shape, 'n_wrong']}, "
            f"got {list(wrong.shape)}."
        )
    if (wrong == pairs.answers[..., None]).any():
        raise TaskError("A wrong answer is the correct one: the logit difference would be 0.")
    vocab = torch.unique(torch.cat([pairs.answers.flatten(), wrong.flatten()]))
    return LogitDifference(
        name=f"logit_diff_{against}" if wrong.shape[2] > 1 else "logit_diff",
        units="logits",
        positions=pairs.answer_positions,
        vocab=vocab,
        correct=torch.searchsorted(vocab, pairs.answers.contiguous()),
        wrong=torch.searchsorted(vocab, wrong.contiguous()),
        against=against,
    )


@dataclass(frozen=True)
class AnswerLogProb:
    """log p(correct) over the whole vocabulary, in nats (at most 0)."""

    positions: Tensor
    answers: Tensor
    name: str = "answer_log_prob"
    units: str = "nats"
    vocab: None = None

    def __call__(self, logits: Tensor) -> Tensor:
        index = self.answers[..., None].expand(*logits.shape[:-1], 1)
        return logits.log_softmax(-1).gather(-1, index)[..., 0]

    def to(self, device: torch.device | str) -> "AnswerLogProb":
        return AnswerLogProb(self.positions.to(device), self.answers.to(device))


def answer_log_prob(pairs: PromptPairs) -> AnswerLogProb:
    """The log-probability of a task's answers."""
    return AnswerLogProb(pairs.answer_positions, pairs.answers)


@dataclass(frozen=True)
class GroupDifference:
    """How much a group of tokens is favoured over the other tokens of a set.

    With ``kind="prob_diff"`` the summed probability of the group minus that of the others, by the
    softmax over the whole vocabulary, so between -1 and 1; with ``kind="logit_diff"`` the mean
    logit of the group minus the mean logit of the others.

    Attributes:
        tokens: where the set's tokens stand among the logits that are read, ``[token]``.
        right: which of them are correct, ``[prompt answer token]``, booleans.
    """

    positions: Tensor
    vocab: Tensor | None
    tokens: Tensor
    right: Tensor
    kind: str

    @property
    def name(self) -> str:
        return self.kind

    @property
    def units(self) -> str:
        return "probability" if self.kind == "prob_diff" else "logits"

    def __call__(self, logits: Tensor) -> Tensor:
        right = self.right.to(logits.dtype)
        if self.kind == "prob_diff":
            return (logits.softmax(-1)[..., self.tokens] * (2 * right - 1)).sum(-1)
        weights = right / right.sum(-1, keepdim=True) - (1 - right) / (1 - right).sum(
            -1, keepdim=True
        )
        return (logits[..., self.tokens] * weights).sum(-1)

    def to(self, device: torch.device | str) -> "GroupDifference":
        vocab = None if self.vocab is None else self.vocab.to(device)
        positions, tokens, right = (t.to(device) for t in (self.positions, self.tokens, self.right))
        return GroupDifference(positions, vocab, tokens, right, self.kind)


def group_difference(
    pairs: PromptPairs, tokens: Tensor, right: Tensor, kind: str = "prob_diff"
) -> GroupDifference:
    """The difference between the correct and the other tokens of a set, answer by answer.

    Args:
        pairs: says where the logits are read.
        tokens: ids of the set, all different, ``[token]``.
        right: which of them are correct, ``[prompt answer token]``, booleans.
        kind: ``"prob_diff"``, in probability, or ``"logit_diff"``, in logits.

    Raises:
        TaskError: an unknown kind, shapes that differ, a token given twice, or an answer for which
            all tokens or none are correct.

    Source: Hanna et al. 2023 for ``"prob_diff"``; ``"logit_diff"`` is our choice.
    """
    if kind not in GROUP_KINDS:
        raise TaskError(f"metric kind={kind!r} is not known. {did_you_mean(kind, GROUP_KINDS)}")
    expected = [*pairs.answers.shape, len(tokens)]
    if list(right.shape) != expected or right.dtype != torch.bool:
        raise TaskError(
            f"right must be booleans [prompt answer token] = {expected}, got "
            f"{list(right.shape)} of {right.dtype}."
        )
    vocab, index = torch.unique(tokens, return_inverse=True)
    if len(vocab) != len(tokens):
        raise TaskError(f"The set names {len(tokens)} tokens and {len(vocab)} different ones.")
    if (right.all(-1) | ~right.any(-1)).any():
        raise TaskError("For one answer at least all tokens of the set are correct, or none.")
    if kind == "prob_diff":  # a softmax needs the logits of all tokens
        return GroupDifference(pairs.answer_positions, None, tokens, right, kind)
    return GroupDifference(pairs.answer_positions, vocab, index, right, kind)
