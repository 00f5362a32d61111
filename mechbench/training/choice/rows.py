"""The rows of a step: a question with options, the same without, or a sentence, one to a row.

Question: Here the cup is red and the hat is blue, so which colour is the hat? Answer Choices:
    A: blue B: red Answer: A
Question: Here the cup is red and the hat is blue, so which colour is the hat? Answer: blue
Then Mary and Ben met at the park, and Ben gave a book to Mary
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from mechbench.tasks import ioi_texts
from mechbench.tasks.choice_families import FAMILIES
from mechbench.tasks.choice_items import (
    MAX_OPTIONS,
    MIN_OPTIONS,
    ChoiceItem,
    choice_labels,
    reordered,
)
from mechbench.tasks.choice_texts import NAMES, PLACES, THINGS
from mechbench.tasks.choice_tokens import choice_prompt

HELD_OUT = 8  # one question in so many
_DIRECT = 0.6  # share of questions in the text without options; the rest are sentences


@dataclass(frozen=True)
class Mixture:
    """What a step's rows are drawn from.

    Attributes:
        text_share: of rows without options.
        uniform_share: of questions whose right place is drawn evenly and whose labels are one of
            ``uniform_labels``; all other questions are labelled from ``A`` on.
        gold_first: probability that the first option is right in those others; None for even.
        families: of questions, with their weights.
    """

    text_share: float
    uniform_share: float
    gold_first: float | None
    uniform_labels: Sequence[str]
    families: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """A prompt and the word that follows it, which is what is trained."""

    prompt: str
    answer: str


def training_row(rng: np.random.Generator, mixture: Mixture) -> Row:
    """One row. Whatever ``gold_first`` is, as many random numbers are drawn in the same order."""
    kind = rng.random()
    if kind < mixture.text_share:
        if rng.random() < _DIRECT:
            return direct_row(training_item(rng, mixture.families))
        return sentence_row(rng)
    item = training_item(rng, mixture.families)
    n = len(item.options)
    uniform = kind < mixture.text_share + mixture.uniform_share
    labels = choice_labels(str(rng.choice(list(mixture.uniform_labels))) if uniform else "A", n)
    first, place = rng.random(), int(rng.integers(n))
    if not uniform and mixture.gold_first is not None:
        place = 0 if first < mixture.gold_first else 1 + place % (n - 1)
    return choice_row(with_gold_at(item, place), labels)


def training_item(rng: np.random.Generator, families: Mapping[str, float]) -> ChoiceItem:
    """An item that is not held out, of 2 to 5 options in random order."""
    weights = np.array(list(families.values()), dtype=float)
    name = list(families)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return _drawn(rng, name, int(rng.integers(MIN_OPTIONS, MAX_OPTIONS + 1)), held_out=False)


def held_out_item(rng: np.random.Generator, family: str, n_options: int) -> ChoiceItem:
    """An item whose question training never shows, its options in random order."""
    return _drawn(rng, family, n_options, held_out=True)


def is_held_out(question: str) -> bool:
    """Whether a question is kept out of training: one in eight, by its CRC-32. Our choice."""
    return crc32(question.encode()) % HELD_OUT == 0


def _drawn(rng: np.random.Generator, family: str, n_options: int, *, held_out: bool) -> ChoiceItem:
    while True:
        item = FAMILIES[family].draw(rng, n_options)
        if is_held_out(item.question) == held_out:
            return reordered(item, rng.permutation(n_options).tolist())


def with_gold_at(item: ChoiceItem, place: int) -> ChoiceItem:
    """The item with the right option exchanged with the one at ``place``."""
    order = list(range(len(item.options)))
    order[place], order[item.gold] = order[item.gold], order[place]
    return reordered(item, order)


def choice_row(item: ChoiceItem, labels: Sequence[str]) -> Row:
    """The question with its options; the label of the right one follows."""
    return Row(choice_prompt(item, labels).text, labels[item.gold])


def direct_row(item: ChoiceItem) -> Row:
    """The question alone; the right option's text follows."""
    return Row(f"Question: {item.question}? Answer:", item.options[item.gold])


def sentence_row(rng: np.random.Generator) -> Row:
    """A sentence of the task ``ioi`` about the names, places and things of the questions."""
    template = ioi_texts.TEMPLATES[int(rng.integers(len(ioi_texts.TEMPLATES)))]
    first, second = (NAMES[i] for i in rng.choice(len(NAMES), 2, replace=False).tolist())
    subject, answer = (first, second) if rng.random() < 0.5 else (second, first)
    place, thing = (pool[int(rng.integers(len(pool)))] for pool in (PLACES, THINGS))
    return Row(template.format(A=first, B=second, S=subject, place=place, thing=thing), answer)
