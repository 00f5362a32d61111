"""How well a model does each task of the common corpus, on prompts that training never shows."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mechbench.models.base import HookedModel
from mechbench.training.mixed.corpus import TASKS, LabelledText, MixedCorpus

_ROWS = 64  # at once, so that memory does not grow with the number of prompts


@dataclass(frozen=True)
class TaskScores:
    """One task's scores over all scored tokens of its prompts.

    Attributes:
        accuracy: share of answers that are the most likely token of the whole vocabulary.
        loss: mean cross-entropy of the answers, nats.
        answers: scored tokens.
    """

    task: str
    accuracy: float
    loss: float
    answers: int


@dataclass(frozen=True)
class TaskBaselines:
    """What is reached without reading the prompt, to stand beside ``TaskScores``.

    Attributes:
        chance: accuracy of a guess that knows the task's form (see each task's class).
        unigram: accuracy of always saying the answer that is most frequent in training.
        unigram_loss: cross-entropy of the prompts' answers under the frequencies of the task's
            answers in training (each token of the vocabulary counted once more), nats.
    """

    task: str
    chance: float
    unigram: float
    unigram_loss: float


@torch.no_grad()
def score_tasks(
    model: HookedModel, corpus: MixedCorpus, n: int = 128, seed: int = 0
) -> list[TaskScores]:
    """The scores of each task, in the order of ``TASKS``, on ``n`` held-out prompts of each.

    Raises:
        NumericsError: for NaN or infinite logits.
    """
    return [_score(model, task, corpus.prompts(task, n, seed)) for task in TASKS]


def baselines(
    corpus: MixedCorpus, n: int = 128, seed: int = 0, *, d_vocab: int, steps: int = 20
) -> list[TaskBaselines]:
    """The baselines of each task on the same prompts; frequencies are of ``steps`` batches."""
    training = [corpus.labelled(step) for step in range(steps)]
    found = []
    for index, task in enumerate(TASKS):
        counts = np.ones(d_vocab)
        for text in training:
            counts += np.bincount(text.ids[text.task == index], minlength=d_vocab)
        prompts = corpus.prompts(task, n, seed)
        answers = prompts.ids[prompts.task == index]
        chance = corpus.sources[task].chance
        assert chance is not None
        loss = -np.log(counts / counts.sum())[answers].mean()
        unigram = (answers == counts.argmax()).mean()
        found.append(TaskBaselines(task, chance, float(unigram), float(loss)))
    return found


def _score(model: HookedModel, task: str, text: LabelledText) -> TaskScores:
    hits, loss, answers = 0, 0.0, 0
    for first in range(0, len(text.ids), _ROWS):
        ids = torch.from_numpy(text.ids[first : first + _ROWS])
        scored = torch.from_numpy(text.task[first : first + _ROWS, 1:] == TASKS.index(task))
        resid = model(ids, stop_at_layer=model.cfg.n_layers)
        logits = model.read_answers(resid[:, :-1][scored])
        target = ids[:, 1:][scored]
        hits += int((logits.argmax(-1) == target).sum())
        loss += float(nn.functional.cross_entropy(logits.double(), target, reduction="sum"))
        answers += len(target)
    return TaskScores(task, hits / answers, loss / answers, answers)
