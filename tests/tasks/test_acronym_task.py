"""Corruptions and the metric of the acronym task."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import TaskError
from mechbench.tasks.acronyms import acronyms

CASES = [
    ("current_word", 1),
    ("current_word", 2),
    ("current_word", 3),
    ("previous_words", 2),
    ("previous_words", 3),
    ("previous_letters", 2),
    ("previous_letters", 3),
    ("all", None),
]


def stated_positions(corruption, letter):
    """The corruptions on the 11-token frame, tokens that are the same in all prompts left out."""
    if corruption == "all":
        return [2, 3, 4, 5, 6, 7, 9, 10]
    if corruption == "current_word":
        return [2 * letter, 2 * letter + 1]
    if corruption == "previous_words":
        return list(range(2, 2 * letter))
    return list(range(9, 7 + letter + 1))


@pytest.fixture(scope="module")
def task(make_toy):
    tails = ["an", "en", "in", "on", "un"]
    words = [c + tail for c in "ABCDEFGHKLMNOPRSTW" for tail in tails]
    return acronyms(make_toy([(t[0], t[1]) for t in tails]), 24, words=words)


@settings(max_examples=60, deadline=None)
@given(
    case=st.sampled_from(CASES),
    method=st.sampled_from(["resample", "permute"]),
    seed=st.integers(0, 2**31),
)
def test_exactly_the_stated_positions_change(task, case, method, seed):
    pairs = task.pairs(*case, method=method, seed=seed)
    changed = (pairs.clean != pairs.corrupt).any(0).nonzero()[:, 0].tolist()
    allowed = stated_positions(*case)
    assert set(changed) <= set(allowed)
    if method == "resample":
        assert changed == allowed
    assert pairs.clean.equal(task.clean) and pairs.answers.equal(task.answers)
    again = task.pairs(*case, method=method, seed=seed)
    assert again.corrupt.equal(pairs.corrupt) and again.source == pairs.source


@settings(max_examples=40, deadline=None)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**31))
def test_resampling_never_keeps_a_letter(task, make_toy, case, seed):
    tokenizer = make_toy([("a", "n"), ("e", "n"), ("i", "n"), ("o", "n"), ("u", "n")])
    pairs = task.pairs(*case, seed=seed)
    positions = stated_positions(*case)
    for clean, corrupt in zip(pairs.clean.tolist(), pairs.corrupt.tolist(), strict=True):
        before, after = (tokenizer.convert_ids_to_tokens(row) for row in (clean, corrupt))
        for p in positions:
            if p in (2, 4, 6, 9, 10):  # C1 C2 C3 A1 A2
                assert before[p] != after[p]
                assert after[p].removeprefix("Ġ") in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        text = tokenizer.decode(corrupt)
        assert len(text.split()) == 5  # BOS glued to The, three words, the bracket and letters
        if case[0] == "all":  # words and given letters disagree
            assert after[9] != after[2][1:] and after[10] != after[4][1:]
    assert pairs.source["kept_letters"] == 0


def test_resampled_letters_are_uniform(task):
    letters = [
        task.pairs("current_word", 1, seed=seed).corrupt[:, 2] for seed in range(60)
    ]  # 1440 draws over 17 other letters each
    counts = torch.unique(torch.cat(letters), return_counts=True)[1]
    assert len(counts) == 18 and counts.min() > 40 and counts.max() < 130


def test_permutation_takes_whole_words_and_two_orders(task):
    pairs = task.pairs("all", method="permute", seed=5)
    rows = {tuple(row) for row in task.clean[:, 2:8].tolist()}
    assert {tuple(row) for row in pairs.corrupt[:, 2:8].tolist()} == rows
    letters = sorted(map(tuple, task.clean[:, 9:11].tolist()))
    assert sorted(map(tuple, pairs.corrupt[:, 9:11].tolist())) == letters
    spaced = dict(zip(task.spaced_capitals.tolist(), task.capitals.tolist(), strict=True))
    from_words = [spaced[i] for i in pairs.corrupt[:, 2].tolist()]
    assert from_words != pairs.corrupt[:, 9].tolist()
    expected = int((task.clean[:, [2, 4, 6, 9, 10]] == pairs.corrupt[:, [2, 4, 6, 9, 10]]).sum())
    assert pairs.source["kept_letters"] == expected > 0


@pytest.mark.parametrize("against", ["max", "mean"])
def test_metric_is_the_plain_loop(task, against):
    logits = torch.randn(len(task), 11, 400, dtype=torch.float64)
    metric = task.metric(against)
    read = torch.take_along_dim(logits, metric.positions[..., None], 1)[..., metric.vocab]
    found = metric(read)
    for b in range(len(task)):
        for i in range(3):
            row = logits[b, 8 + i]
            right = int(task.answers[b, i])
            others = [float(row[c]) for c in task.capitals.tolist() if c != right]
            assert len(others) == 25
            wrong = max(others) if against == "max" else sum(others) / 25
            assert abs(float(found[b, i]) - (float(row[right]) - wrong)) < 1e-12


def test_metric_default_is_the_tasks(make_toy):
    words = [c + "a" for c in "ABC"]
    task = acronyms(make_toy(), 4, words=words, against="mean")
    assert task.metric().against == "mean" and task.metric("max").against == "max"
    with pytest.raises(TaskError, match="against='median'"):
        task.metric("median")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("curent_word", 1), {}, "Did you mean 'current_word'"),
        (("current_word",), {}, "needs letter=1 to 3"),
        (("current_word", 0), {}, "got 0"),
        (("current_word", 4), {}, "got 4"),
        (("previous_words", 1), {}, "nothing comes before letter 1"),
        (("all", 2), {}, "takes no letter"),
        (("all",), {"method": "shuffle"}, "method='shuffle'"),
    ],
)
def test_bad_corruptions(task, args, kwargs, message):
    with pytest.raises(TaskError, match=message):
        task.pairs(*args, **kwargs)


def test_too_little_to_draw_from(make_toy):
    task = acronyms(make_toy(), 1, words=["Ka", "Ke", "Ki"])
    with pytest.raises(TaskError, match="at least two initial"):
        task.pairs("current_word", 1)
    with pytest.raises(TaskError, match="at least 2 prompts"):
        task.pairs("current_word", 1, method="permute")
