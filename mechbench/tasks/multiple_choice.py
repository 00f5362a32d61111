"""Generated questions: ``Question: ...? Answer Choices: A: red B: blue Answer:`` -> `` B``."""

from collections.abc import Sequence
from typing import Any

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.choice_families import FAMILIES
from mechbench.tasks.choice_items import (
    MAX_OPTIONS,
    MIN_OPTIONS,
    ChoiceItem,
    GoldPlaces,
    placed,
    reordered,
)
from mechbench.tasks.choice_task import ChoiceTask, choice_task
from mechbench.tasks.seeds import seeded

__all__ = ["ChoiceItem", "ChoiceTask", "choice_task", "multiple_choice"]


def multiple_choice(
    tokenizer: Any,
    n: int = 64,
    *,
    seed: int = 0,
    families: Sequence[str] = tuple(FAMILIES),
    n_options: int | Sequence[int] | None = None,
    labels: str | Sequence[str] = "A",
    gold: GoldPlaces = "balanced",
) -> ChoiceTask:
    """Questions whose answers follow from their text, the families taking turns.

    ``ioi``: all names of a sentence but one are mentioned again, which is the other one;
    ``deduction``: the oldest or youngest of some people; ``greater_than``: the largest of some
    numbers; ``attribute``: the colour of one of some things; ``category``: the word of a kind;
    ``alphabet``: the name that comes first.

    Args:
        tokenizer: Hugging Face's interface, e.g. ``model.tokenizer``.
        n: number of prompts.
        seed: the same seed gives the same prompts.
        families: which of the six, each once.
        n_options: 2 to 5, or several such numbers in turn; by default as many as in the paper
            (2, 3, 4) or as each family has.
        labels: the first of consecutive letters or digits (``"A"``, ``"1"``, ``"P"``), or a list.
        gold: ``"balanced"``, every place is right equally often in each family and number of
            options; ``"not_first"``, likewise without the first place; ``"as_given"``, options in
            the order in which the question mentions them.

    Raises:
        TaskError: ``n`` below 1, an unknown family, a number of options that is not supported, or
            labels that collide.
        TokenizerError: as ``choice_task``.

    Source: the sets IOI, logical deduction and greater-than of Li and Gao 2025 for the first three;
        the other families, all sentences and words are our own.
    """
    if n < 1:
        raise TaskError(f"multiple_choice needs n of at least 1, got {n}.")
    _check_families(families)
    kinds = _kinds(families, n_options)
    rng = seeded(seed, n)
    turns = [kinds[i % len(kinds)] for i in range(n)]
    items = [FAMILIES[family].draw(rng, number) for family, number in turns]
    if gold != "as_given":
        items = [reordered(item, rng.permutation(len(item.options)).tolist()) for item in items]
    return choice_task(
        tokenizer,
        placed(items, gold, rng),
        labels=labels,
        source={
            "generator": "multiple_choice",
            "seed": seed,
            "families": list(families),
            "n_options": sorted({number for _, number in kinds}),
            "gold": gold,
        },
    )


def _check_families(families: Sequence[str]) -> None:
    for name in families:
        if name not in FAMILIES:
            raise TaskError(f"There is no family {name!r}. {did_you_mean(name, FAMILIES)}")
    if not families or len(set(families)) < len(families):
        raise TaskError(f"families must name one or more, each once, got {list(families)}.")


def _kinds(families: Sequence[str], n_options: int | Sequence[int] | None) -> list[tuple[str, int]]:
    """Pairs of family and number of options, which take turns."""
    if n_options is None:
        return [(name, FAMILIES[name].n_options) for name in families]
    numbers = [n_options] if isinstance(n_options, int) else list(n_options)
    if not numbers or not all(MIN_OPTIONS <= number <= MAX_OPTIONS for number in numbers):
        raise TaskError(
            f"n_options={n_options} is not supported: use {MIN_OPTIONS} to {MAX_OPTIONS}, or "
            "several such numbers."
        )
    return [(name, number) for number in numbers for name in families]
