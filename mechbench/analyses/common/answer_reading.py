"""A metric as one direction per answer: what components can be said to write."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.metrics import AnswerLogProb, LogitDifference, Metric

AGAINST = ("mean", "max")


@dataclass(frozen=True)
class AnswerReading:
    """A weighted sum of logits for each prompt and answer.

    Attributes:
        name: in words.
        positions: where logits are read, ``[prompt answer]``.
        vocab: the tokens that are read, ``[subset]``.
        weights: ``[prompt answer subset]``, in float64.
    """

    name: str
    positions: Tensor
    vocab: Tensor
    weights: Tensor

    def shuffled(self) -> "AnswerReading":
        """The same prompts, each with the answers of the next one."""
        return replace(self, weights=self.weights.roll(-1, 0))

    def of(self, logits: Tensor) -> Tensor:
        """The reading ``[prompt answer]`` of logits ``[prompt answer subset]``."""
        return (logits * self.weights.to(logits)).sum(-1)


def answer_reading(
    model, metric: Metric, tokens: Tensor, *, against: str = "mean"
) -> AnswerReading:
    """The linear reading of a metric.

    A logit difference is read against the mean of the wrong answers or, with ``against="max"``,
    against the one whose logit is the largest in the run on ``tokens``. Of a log-probability the
    answer's logit is read.

    Raises:
        TaskError: another metric, or an unknown ``against``.
    """
    if against not in AGAINST:
        raise TaskError(f"against={against!r} is not known: use {' or '.join(AGAINST)}.")
    if isinstance(metric, AnswerLogProb):
        vocab, index = metric.answers.unique(return_inverse=True)
        weights = torch.nn.functional.one_hot(index, len(vocab)).double()
        return AnswerReading("logit of the answer", metric.positions, vocab, weights)
    if not isinstance(metric, LogitDifference):
        raise TaskError(
            f"The metric {metric.name!r} is not linear in the logits; direct attribution needs a "
            "logit difference or a log-probability of the answer."
        )
    wrong, n_wrong = metric.wrong, metric.wrong.shape[-1]
    name = "logit of the answer minus " + (
        "that of the wrong one"
        if n_wrong == 1
        else "the mean of the wrong ones"
        if against == "mean"
        else "that of the strongest wrong one"
    )
    if against == "max":
        on_device = metric.to(model.cfg.device)
        logits = model.answer_logits(tokens, on_device.positions, on_device.vocab).cpu()
        best = torch.take_along_dim(logits, wrong, -1).argmax(-1, keepdim=True)
        wrong, n_wrong = torch.take_along_dim(wrong, best, -1), 1
    weights = torch.zeros(*metric.correct.shape, len(metric.vocab), dtype=torch.float64)
    share = torch.full(wrong.shape, -1 / n_wrong, dtype=torch.float64)
    weights.scatter_add_(-1, wrong, share)
    correct = metric.correct[..., None]
    weights.scatter_add_(-1, correct, torch.ones(correct.shape, dtype=torch.float64))
    return AnswerReading(name, metric.positions, metric.vocab, weights)
