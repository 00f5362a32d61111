"""Multiple-choice items: a question, its options, and which of them is right."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from numpy.random import Generator

from mechbench.errors import TaskError

MIN_OPTIONS, MAX_OPTIONS = 2, 5
GoldPlaces = Literal["balanced", "as_given", "not_first"]


@dataclass(frozen=True)
class ChoiceItem:
    """A question with options.

    Attributes:
        question: its text, with or without a question mark.
        options: 2 to 5 texts, all different, in the order in which they are offered.
        gold: index of the right one.
        set_name: what the item belongs to: a family or a data set (``"ioi"``, ``"arc"``).

    Raises:
        TaskError: no question, too few or too many options, options that collide, or a gold that
            is not an option.
    """

    question: str
    options: tuple[str, ...]
    gold: int
    set_name: str = ""

    def __post_init__(self) -> None:
        problem = item_problem(self.question, self.options, self.gold)
        if problem:
            raise TaskError(f"The question {shortened(self.question)!r} cannot be asked: {problem}")


def item_problem(question: str, options: Sequence[str], gold: int) -> str | None:
    """Why this is no multiple-choice item; None where it is one."""
    if not question.strip(" ?\n\t"):
        return "the question is empty"
    if not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
        return f"{MIN_OPTIONS} to {MAX_OPTIONS} options are supported, got {len(options)}"
    if not all(option.strip() for option in options):
        return f"an option is empty: {list(options)}"
    same = _collision(options)
    if same:
        return f"options collide: {same[0]!r} and {same[1]!r} are equal but for spaces and case"
    if not 0 <= gold < len(options):
        return f"the right option is number {gold} (from 0), and there are {len(options)} options"
    return None


def _collision(texts: Sequence[str]) -> tuple[str, str] | None:
    """Two texts that are equal when spaces and case are not counted."""
    seen: dict[str, str] = {}
    for text in texts:
        key = " ".join(text.split()).casefold()
        if key in seen:
            return seen[key], text
        seen[key] = text
    return None


def shortened(text: str, length: int = 60) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= length else text[: length - 3] + "..."


def choice_labels(labels: str | Sequence[str], n: int) -> tuple[str, ...]:
    """``n`` labels: given one by one, or as the first of consecutive characters (``"A"``, ``"1"``).

    Raises:
        TaskError: too few, an empty one, one with spaces, or two that are equal but for case.
    """
    if isinstance(labels, str):
        if len(labels) != 1 or not labels.isalnum():
            raise TaskError(
                f"labels={labels!r} names no first label: give one letter or digit ('A', '1', "
                "'P'), or a list of labels."
            )
        found = tuple(chr(ord(labels) + i) for i in range(n))
        if not all(label.isalnum() for label in found):
            raise TaskError(
                f"From {labels!r} on there are no {n} consecutive letters or digits: {list(found)}."
            )
    else:
        found = tuple(labels)[:n]
    if len(found) < n:
        raise TaskError(f"{n} labels are needed for {n} options, got {list(found)}.")
    bad = [label for label in found if not label or label != "".join(label.split())]
    if bad:
        raise TaskError(f"A label is a text without spaces, got {bad[0]!r}.")
    same = _collision(found)
    if same:
        raise TaskError(f"Labels collide: {same[0]!r} and {same[1]!r} are equal but for case.")
    return found


def placed(items: Sequence[ChoiceItem], gold: GoldPlaces, rng: Generator) -> list[ChoiceItem]:
    """The items with the right option where ``gold`` says; the others keep their order.

    Args:
        items: in any order.
        gold: ``"balanced"``: within each set and number of options every place is right equally
            often, up to one; ``"not_first"``: likewise over all places but the first;
            ``"as_given"``: where they are.
        rng: decides which item gets which place.

    Source: our choice; Li and Gao (2025) evidently never put the right option first.
    """
    if gold == "as_given":
        return list(items)
    first = 1 if gold == "not_first" else 0
    groups: dict[tuple[str, int], list[int]] = {}
    for i, item in enumerate(items):
        groups.setdefault((item.set_name, len(item.options)), []).append(i)
    moved = list(items)
    for (_, n_options), members in sorted(groups.items()):
        n_places = n_options - first
        for place, i in enumerate(rng.permutation(members).tolist()):
            moved[i] = _with_gold_at(items[i], first + place % n_places)
    return moved


def _with_gold_at(item: ChoiceItem, place: int) -> ChoiceItem:
    others = [option for i, option in enumerate(item.options) if i != item.gold]
    others.insert(place, item.options[item.gold])
    return replace(item, options=tuple(others), gold=place)


def reordered(item: ChoiceItem, order: Sequence[int]) -> ChoiceItem:
    """The item with its options in another order: ``order[i]`` is what comes to place i."""
    options = tuple(item.options[i] for i in order)
    return replace(item, options=options, gold=list(order).index(item.gold))


def gold_counts(items: Iterable[ChoiceItem]) -> dict[str, dict[str, int]]:
    """How often each place is right, by set and number of options, for provenance."""
    counts = Counter((item.set_name, len(item.options), item.gold) for item in items)
    table: dict[str, dict[str, int]] = {}
    for (set_name, n_options, gold), count in sorted(counts.items()):
        table.setdefault(f"{set_name} of {n_options}", {})[str(gold)] = count
    return table
