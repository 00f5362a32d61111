"""The words of the acronym task, and which of them training never sees."""

from functools import cache
from hashlib import sha256
from itertools import groupby

from mechbench.resources import bundled


def read_words(name: str) -> tuple[str, ...]:
    """The words of ``data/words/<name>.txt`` in file order; lines that begin with ``#`` are not."""
    lines = (bundled("data") / "words" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def word_list() -> tuple[str, ...]:
    """All words, each a capital initial and a lower-case tail, sorted."""
    return read_words("words")


@cache
def held_out_words() -> tuple[str, ...]:
    """The half of each letter's words that no bundled model is trained on, sorted.

    Of the words of one letter, ordered by their SHA-256, the first half (rounded up). Source: our
    choice.
    """
    held_out: list[str] = []
    for _, words in groupby(word_list(), key=lambda word: word[0]):
        ordered = sorted(words, key=lambda word: sha256(word.encode()).digest())
        held_out += ordered[: (len(ordered) + 1) // 2]
    return tuple(sorted(held_out))


def training_words() -> tuple[str, ...]:
    """The words that are not held out, sorted."""
    held_out = set(held_out_words())
    return tuple(word for word in word_list() if word not in held_out)
