"""Families of multiple-choice questions whose answers follow from their text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from numpy.random import Generator

from mechbench.tasks.choice_items import ChoiceItem
from mechbench.tasks.choice_texts import COLOURS, NAMES, NUMBERS, PLACES, THINGS

T = TypeVar("T")


@dataclass(frozen=True)
class Family:
    """A kind of question.

    Attributes:
        draw: an item of so many options, in the order in which the question mentions them.
        n_options: by default; as many as in Li and Gao (2025), where they have such a set.
    """

    draw: Callable[[Generator, int], ChoiceItem]
    n_options: int


def _ioi(rng: Generator, n: int) -> ChoiceItem:
    """Of n names all but one are mentioned again: the other one is the answer."""
    names = _some(rng, NAMES, n)
    gold = int(rng.integers(n))
    givers = [name for i, name in enumerate(names) if i != gold]
    question = (
        f"Then {listed(names)} met at the {_one(rng, PLACES)}, and "
        f"{listed(_shuffled(rng, givers))} gave a {_one(rng, THINGS)} to whom"
    )
    return ChoiceItem(question, tuple(names), gold, "ioi")


def _greater_than(rng: Generator, n: int) -> ChoiceItem:
    """Of n numbers from 10 to 99 the largest."""
    numbers = _some(rng, NUMBERS, n)
    gold = max(range(n), key=lambda i: int(numbers[i]))
    question = f"Which number is the largest of {listed(numbers)}"
    return ChoiceItem(question, tuple(numbers), gold, "greater_than")


def _attribute(rng: Generator, n: int) -> ChoiceItem:
    """The colour of one of n things, all of which are stated."""
    things, colours = _some(rng, THINGS, n), _some(rng, COLOURS, n)
    gold = int(rng.integers(n))
    facts = [f"the {thing} is {colour}" for thing, colour in zip(things, colours, strict=True)]
    question = f"Here {listed(facts)}, so which colour is the {things[gold]}"
    return ChoiceItem(question, tuple(colours), gold, "attribute")


def _category(rng: Generator, n: int) -> ChoiceItem:
    """The one of n words that is of a kind, of which none of the others is."""
    kind = _one(rng, list(CATEGORIES))
    others = [word for name, words in CATEGORIES.items() if name != kind for word in words]
    words = _shuffled(rng, [_one(rng, CATEGORIES[kind]), *_some(rng, others, n - 1)])
    gold = next(i for i, word in enumerate(words) if word in CATEGORIES[kind])
    return ChoiceItem(f"Which of {listed(words)} is a {kind}", tuple(words), gold, "category")


def _alphabet(rng: Generator, n: int) -> ChoiceItem:
    """Of n names the first in the alphabet."""
    names = _some(rng, NAMES, n)
    question = f"Which of {listed(names)} comes first in the alphabet"
    return ChoiceItem(question, tuple(names), names.index(min(names)), "alphabet")


def _deduction(rng: Generator, n: int) -> ChoiceItem:
    """The oldest or the youngest of n people, from n - 1 comparisons in any order."""
    names = _some(rng, NAMES, n)  # from the oldest to the youngest
    pairs = list(zip(names, names[1:], strict=False))
    facts = [f"{older} is older than {younger}" for older, younger in _shuffled(rng, pairs)]
    oldest = bool(rng.integers(2))
    question = f"Here {listed(facts)}, so who is the {'oldest' if oldest else 'youngest'}"
    mentioned = sorted(names, key=question.index)
    gold = mentioned.index(names[0] if oldest else names[-1])
    return ChoiceItem(question, tuple(mentioned), gold, "deduction")


CATEGORIES: Mapping[str, Sequence[str]] = {
    "name": NAMES,
    "colour": COLOURS,
    "number": NUMBERS,
    "place": PLACES,
    "thing": THINGS,
}
FAMILIES: Mapping[str, Family] = {
    "ioi": Family(_ioi, 2),
    "deduction": Family(_deduction, 3),
    "greater_than": Family(_greater_than, 4),
    "attribute": Family(_attribute, 4),
    "category": Family(_category, 5),
    "alphabet": Family(_alphabet, 3),
}


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


def _some(rng: Generator, pool: Sequence[T], n: int) -> list[T]:
    return [pool[i] for i in rng.choice(len(pool), n, replace=False).tolist()]


def _one(rng: Generator, pool: Sequence[T]) -> T:
    return pool[int(rng.integers(len(pool)))]


def _shuffled(rng: Generator, parts: Sequence[T]) -> list[T]:
    return [parts[i] for i in rng.permutation(len(parts)).tolist()]
