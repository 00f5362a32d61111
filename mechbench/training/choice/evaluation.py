"""How well a model answers held-out questions, and how often it says ` A` where that is wrong."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mechbench.models.base import HookedModel
from mechbench.tasks.choice_families import FAMILIES
from mechbench.tasks.choice_items import MAX_OPTIONS, MIN_OPTIONS, choice_labels
from mechbench.training.choice.corpus import ChoiceCorpus, encoded
from mechbench.training.choice.rows import (
    Row,
    choice_row,
    direct_row,
    held_out_item,
    sentence_row,
    with_gold_at,
)

_ROWS = 128  # at once, so that memory does not grow with the number of prompts
_PROMPT_STREAM = 1  # keeps the seeds of prompts apart from those of training
SENTENCES = "sentences"


@dataclass(frozen=True)
class ChoiceScores:
    """One family's scores, or those of the sentences, which have no options.

    Attributes:
        accuracy: share of questions with the right option not first whose most likely token, of
            the whole vocabulary, is the right label; of sentences, the right name.
        accuracy_first: the same where the first option is right; NaN for sentences.
        anchored: share of the former whose most likely token is the first label; or NaN.
        among_labels: accuracy of the former when only the question's labels count; or NaN.
        text_accuracy, text_loss: of the same questions without options, and of sentences; the
            answer is the option's text, the loss in nats.
    """

    family: str
    accuracy: float
    accuracy_first: float
    anchored: float
    among_labels: float
    text_accuracy: float
    text_loss: float


def score_choices(
    model: HookedModel, corpus: ChoiceCorpus, n: int = 256, seed: int = 0, labels: str = "A"
) -> list[ChoiceScores]:
    """The scores of each family that the corpus has, and of sentences.

    Args:
        n: questions of each family with the first option right, and as many with another;
            2 to 5 options in turn.

    Raises:
        NumericsError: for NaN or infinite logits.
    """
    families = [name for name, weight in corpus.mixture.families.items() if weight]
    scores = [_family_scores(model, corpus, name, n, seed, labels) for name in families]
    rng = np.random.default_rng([seed, n, len(FAMILIES), _PROMPT_STREAM])
    logits, target = answers(model, corpus, [sentence_row(rng) for _ in range(n)])
    nan, right = float("nan"), _share(logits.argmax(-1) == target)
    text = ChoiceScores(SENTENCES, right, nan, nan, nan, right, _loss(logits, target))
    return [*scores, text]


def _family_scores(
    model: HookedModel, corpus: ChoiceCorpus, family: str, n: int, seed: int, labels: str
) -> ChoiceScores:
    rng = np.random.default_rng([seed, n, list(FAMILIES).index(family), _PROMPT_STREAM])
    names = choice_labels(labels, MAX_OPTIONS)
    sizes = [MIN_OPTIONS + i % (MAX_OPTIONS - MIN_OPTIONS + 1) for i in range(n)]
    items = [held_out_item(rng, family, size) for size in sizes]
    places = [1 + int(rng.integers(size - 1)) for size in sizes]
    other = [
        choice_row(with_gold_at(item, place), names)
        for item, place in zip(items, places, strict=True)
    ]
    logits, target = answers(model, corpus, other)
    ids = torch.tensor([corpus.tokenizer.token_to_id(f"Ġ{name}") for name in names])
    offered = torch.arange(MAX_OPTIONS) < torch.tensor(sizes)[:, None]
    among = logits[:, ids].masked_fill(~offered, float("-inf"))
    first = answers(model, corpus, [choice_row(with_gold_at(item, 0), names) for item in items])
    text = answers(model, corpus, [direct_row(item) for item in items])
    said = logits.argmax(-1)
    return ChoiceScores(
        family=family,
        accuracy=_share(said == target),
        accuracy_first=_share(first[0].argmax(-1) == first[1]),
        anchored=_share(said == ids[0]),
        among_labels=_share(among.argmax(-1) == torch.tensor(places)),
        text_accuracy=_share(text[0].argmax(-1) == text[1]),
        text_loss=_loss(*text),
    )


@torch.no_grad()
def answers(model: HookedModel, corpus: ChoiceCorpus, rows: list[Row]) -> tuple[Tensor, Tensor]:
    """The logits at the end of each prompt ``[row vocab]`` and the right token ``[row]``."""
    ids = encoded(corpus.tokenizer, rows)
    logits = []
    for start in range(0, len(ids), _ROWS):
        some = ids[start : start + _ROWS]
        last = torch.tensor([[len(row) - 2] for row in some])
        width = max(map(len, some)) - 1
        prompts = torch.tensor([row[:-1] + [row[0]] * (width - len(row) + 1) for row in some])
        logits.append(model.answer_logits(prompts, last)[:, 0])
    return torch.cat(logits), torch.tensor([row[-1] for row in ids])


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _loss(logits: Tensor, target: Tensor) -> float:
    return float(nn.functional.cross_entropy(logits.double(), target))
