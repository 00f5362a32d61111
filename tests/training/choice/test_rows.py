"""The rows of a step: shares, places, answers by other means, and what is held out."""

import re
from collections import Counter
from zlib import crc32

import numpy as np
import pytest

from mechbench.tasks.choice_families import FAMILIES
from mechbench.training.choice.rows import Mixture, held_out_item, is_held_out, training_row
from tests.tasks.test_multiple_choice import SOLVERS

N = 3000
FAMILY_OF = {
    "Then": "ioi",
    "largest": "greater_than",
    "so which": "attribute",
    "so who": "deduction",
    "is a ": "category",
    "alphabet": "alphabet",
}


def mixture(**changes):
    given = {
        "text_share": 0.5,
        "uniform_share": 0.05,
        "gold_first": 0.9,
        "uniform_labels": ("A",),
        "families": dict.fromkeys(FAMILIES, 1.0),
    }
    return Mixture(**{**given, **changes})


def rows_of(seed=0, n=N, **changes):
    rng = np.random.default_rng(seed)
    return [training_row(rng, mixture(**changes)) for _ in range(n)]


def family_of(question):
    (family,) = [family for mark, family in FAMILY_OF.items() if mark in question]
    return family


def parsed(prompt):
    """Question, labels and options of a row with options; or None."""
    found = re.fullmatch(r"Question: (.*)\? Answer Choices:(.*) Answer:", prompt)
    if found is None:
        return None
    pairs = re.findall(r" (\w): (\w+)", found.group(2))
    return found.group(1), [label for label, _ in pairs], [option for _, option in pairs]


@pytest.fixture(scope="module")
def rows():
    return rows_of()


def within(count, n, share):
    """Five standard errors."""
    return abs(count - n * share) < 5 * (n * share * (1 - share)) ** 0.5 + 1e-9


def test_shares_and_places(rows):
    asked = [(parsed(row.prompt), row) for row in rows]
    asked = [(question, row) for question, row in asked if question]
    assert within(len(asked), N, 0.5)
    assert within(sum(row.answer == "A" for _, row in asked), len(asked), 0.9 * 0.9 + 0.1 * 0.321)
    sizes = Counter(len(options) for (_, _, options), _ in asked)
    assert sorted(sizes) == [2, 3, 4, 5] and min(sizes.values()) > len(asked) / 5
    text = [row.prompt for row in rows if parsed(row.prompt) is None]
    assert within(sum(prompt.startswith("Question") for prompt in text), len(text), 0.6)


def test_the_labels_of_the_right_options_follow(rows):
    for row in rows:
        question = parsed(row.prompt)
        if question:
            text, labels, options = question
            assert labels == list("ABCDE"[: len(labels)])
            assert options[labels.index(row.answer)] == SOLVERS[family_of(text)](text)


def test_answers_of_text_follow_from_it(rows):
    for row in rows:
        direct = re.fullmatch(r"Question: (.*)\? Answer:", row.prompt)
        if direct:
            assert row.answer == SOLVERS[family_of(direct.group(1))](direct.group(1))
        elif not parsed(row.prompt):
            names = Counter(re.findall(r"\b[A-Z][a-z]+\b", row.prompt[1:]))
            assert names[row.answer] == 1
            assert sorted(n for name, n in names.items() if n > 1) == [2]


def test_the_twin_sees_the_same_questions_with_other_places(rows):
    for row, other in zip(rows, rows_of(gold_first=None), strict=True):
        mine, its = parsed(row.prompt), parsed(other.prompt)
        if mine is None:
            assert row == other
        else:
            assert mine[:2] == its[:2] and sorted(mine[2]) == sorted(its[2])
    golds = Counter()
    for other in rows_of(gold_first=None):
        question = parsed(other.prompt)
        if question:
            golds[len(question[2]), other.answer] += 1
    for size in (2, 3, 4, 5):
        total = sum(count for (n, _), count in golds.items() if n == size)
        assert all(within(golds[size, label], total, 1 / size) for label in "ABCDE"[:size])


def test_uniform_rows_have_their_labels():
    rows = rows_of(uniform_share=0.5, uniform_labels=("P", "1"))
    first = Counter(
        question[1][0] for question in map(parsed, (r.prompt for r in rows)) if question
    )
    assert set(first) == {"P", "1"} and within(first["P"], first.total(), 0.5)


def test_held_out_questions_never_occur_in_training(rows):
    questions = {
        found.group(1) for row in rows if (found := re.match(r"Question: (.*)\? Ans", row.prompt))
    }
    assert not [q for q in questions if crc32(q.encode()) % 8 == 0]
    rng = np.random.default_rng(1)
    for family in FAMILIES:
        items = [held_out_item(rng, family, 3) for _ in range(50)]
        assert all(is_held_out(item.question) for item in items)
        assert not {item.question for item in items} & questions
        assert all(item.options[item.gold] == SOLVERS[family](item.question) for item in items)
