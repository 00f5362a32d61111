"""The induction task."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.induction import induction


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 9),
    half=st.integers(2, 12),
    seed=st.integers(0, 2**31),
    bos=st.sampled_from([False, 7]),
    corruption=st.sampled_from(["first_half", "other_repeat"]),
)
def test_answers_and_corruptions(n, half, seed, bos, corruption):
    task = induction(n=n, half_length=half, seed=seed, vocab=40, bos=bos)
    pairs = task.pairs(corruption)
    start = 0 if bos is False else 1
    assert pairs.clean.shape == (n, start + 2 * half)
    for b in range(n):
        clean, corrupt = pairs.clean[b].tolist(), pairs.corrupt[b].tolist()
        if start:
            assert clean[0] == corrupt[0] == 7 and 7 not in clean[1:] + corrupt[1:]
        first, second = clean[start : start + half], clean[start + half :]
        assert first == second and len(set(first)) == half
        other = corrupt[start : start + half]
        assert not set(other) & set(first) and len(set(other)) == half
        assert corrupt[start + half :] == (first if corruption == "first_half" else other)
        for position, answer in zip(
            pairs.answer_positions[b].tolist(), pairs.answers[b].tolist(), strict=True
        ):
            # what came after this token the first time, and what really comes next
            assert answer == clean[clean.index(clean[position]) + 1] == clean[position + 1]
    assert induction(n=n, half_length=half, seed=seed, vocab=40, bos=bos).clean.equal(task.clean)


def test_metrics_are_plain_loops():
    task = induction(n=3, half_length=4, vocab=20, bos=False)
    logits = torch.randn(3, 8, 20, dtype=torch.float64)
    diff, log_prob = task.metric(), task.metric("log_prob")
    read = torch.take_along_dim(logits, diff.positions[..., None], 1)
    found_diff, found_log = diff(read[..., diff.vocab]), log_prob(read)
    corrupt = task.pairs().corrupt
    for b in range(3):
        for j in range(3):
            row = logits[b, 4 + j]
            right, wrong = int(task.clean[b, 1 + j]), int(corrupt[b, 1 + j])
            assert abs(float(found_diff[b, j]) - float(row[right] - row[wrong])) < 1e-12
            total = sum(float(x.exp()) for x in row)
            expected = float(row[right]) - torch.tensor(total, dtype=torch.float64).log().item()
            assert abs(float(found_log[b, j]) - expected) < 1e-12


def test_tokenizers_special_tokens_are_left_out(toy):
    task = induction(toy, 50, half_length=100)
    assert (task.clean[:, 0] == toy.bos_token_id).all()
    assert not (task.clean[:, 1:] == toy.bos_token_id).any()
    assert task.source["vocab"] == len(toy) - 1
    chosen = induction(toy, 5, half_length=3, vocab=[5, 6, 7, 8, 9, 10, 10])
    assert set(chosen.half.flatten().tolist()) <= set(range(5, 11))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"half_length": 1}, "half_length=1"),
        ({"half_length": 40}, "needs 80 different tokens, and there are 50"),
        ({"vocab": None}, "needs a tokenizer"),
    ],
)
def test_bad_input(kwargs, message):
    with pytest.raises(TaskError, match=message):
        induction(**({"vocab": 50, "bos": False} | kwargs))


def test_bad_names_and_no_bos(make_toy):
    with pytest.raises(TokenizerError, match="no BOS"):
        induction(make_toy(bos=None))
    task = induction(vocab=50, bos=False)
    with pytest.raises(TaskError, match="Did you mean 'first_half'"):
        task.pairs("firsthalf")
    with pytest.raises(TaskError, match="Did you mean 'log_prob'"):
        task.metric("logprob")
