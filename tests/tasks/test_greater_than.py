"""The greater-than task with GPT-2's tokenizer."""

import math
import re

import pytest
import torch

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.greater_than import greater_than
from mechbench.tasks.greater_than_texts import NOUNS
from mechbench.tasks.metrics import group_difference

FORM = r"<\|endoftext\|>The (\w+) lasted from the year (\d\d)(\d\d) to the year (\d\d)"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_prompts_spans_and_answers(gpt2, seed):
    task = greater_than(gpt2, 120, seed=seed)
    pairs = task.pairs("01")
    assert pairs.position_labels[6:] == ("year", "XX1", "YY", "to", "the", "year", "XX2")
    for b, ids in enumerate(task.clean.tolist()):
        noun, century, year, again = re.fullmatch(FORM, gpt2.decode(ids)).groups()
        assert noun in NOUNS and century == again and "11" <= century <= "17"
        assert "02" <= year <= "98" and int(year) == task.start[b]
        tokens = {name: gpt2.decode([ids[p[b]]]) for name, p in task.spans.items()}
        assert tokens == {"XX1": f" {century}", "YY": year, "END": f" {century}"}
        assert task.spans["XX1"][b] < task.spans["YY"][b] < task.spans["END"][b]
        assert pairs.answer_positions[b].tolist() == [len(ids) - 1]
        assert gpt2.decode([pairs.answers[b, 0]]) == f"{int(year) + 1:02d}"
        corrupt = f"The {noun} lasted from the year {century}01 to the year {century}"
        assert gpt2.decode(pairs.corrupt[b, 1:]) == corrupt
        # a user who types the corrupted sentence gets the same tokens
        assert gpt2(corrupt)["input_ids"] == pairs.corrupt[b, 1:].tolist()
        assert gpt2(gpt2.decode(ids[1:]))["input_ids"] == ids[1:]


def test_start_years_are_even_and_seeds_repeat(gpt2):
    task = greater_than(gpt2, 2 * 97, seed=3)
    counts = torch.bincount(task.start, minlength=99)
    assert counts[2:99].tolist() == [2] * 97 and counts[:2].sum() == 0
    assert task.clean.equal(greater_than(gpt2, 2 * 97, seed=3).clean)
    assert not task.clean.equal(greater_than(gpt2, 2 * 97, seed=4).clean)
    assert greater_than(gpt2, 3, bos=False).clean.shape[1] == task.clean.shape[1] - 1
    assert sum(task.source["years"].values()) == 2 * 97 and len(task.source["years"]) == 7


def test_centuries_without_a_year_01_of_two_tokens_are_left_out(gpt2):
    task = greater_than(gpt2, 60, centuries=[17, 19])  # 1901 is one token, 1917 too
    assert set(task.source["years"]) == {"17"}
    with pytest.raises(TokenizerError, match=r"makes \[' 1950'\] of 1950"):
        greater_than(gpt2, 4, centuries=[19])


@pytest.mark.parametrize("kind", ["prob_diff", "logit_diff"])
def test_metric_is_the_plain_loop(gpt2, kind):
    task = greater_than(gpt2, 5, seed=7)
    logits = torch.randn(2, 5, 1, len(gpt2), dtype=torch.float64)  # two cells
    metric = task.metric(kind)
    assert (metric.name, metric.units) == (
        kind,
        "probability" if kind == "prob_diff" else "logits",
    )
    found = metric(logits if metric.vocab is None else logits[..., metric.vocab])
    assert found.shape == (2, 5, 1)
    for cell in range(2):
        for b in range(5):
            row = logits[cell, b, 0]
            total = float(row.exp().sum())
            later, others = [], []
            for year in range(100):
                (token,) = gpt2(f"{year:02d}")["input_ids"]
                group = later if year > int(task.start[b]) else others
                group.append(float(row[token]))
            if kind == "prob_diff":
                exps = [[math.exp(x) for x in g] for g in (later, others)]
                expected = (sum(exps[0]) - sum(exps[1])) / total
            else:
                expected = sum(later) / len(later) - sum(others) / len(others)
            assert abs(float(found[cell, b, 0]) - expected) < 1e-12
    assert metric.to("cpu")(logits if metric.vocab is None else logits[..., metric.vocab]).equal(
        found
    )


def test_a_model_that_is_sure_scores_plus_or_minus_one(gpt2):
    task = greater_than(gpt2, 4)
    for offset, expected in ((1, 1.0), (0, -1.0)):
        logits = torch.zeros(4, 1, len(gpt2))
        logits[torch.arange(4), 0, task.years[task.start + offset]] = 100.0
        assert torch.allclose(task.metric()(logits), torch.full((4, 1), expected))


def test_bad_input(gpt2, toy):
    with pytest.raises(TaskError, match="n=0"):
        greater_than(gpt2, 0)
    with pytest.raises(TaskError, match="0 nouns"):
        greater_than(gpt2, 2, nouns=[])
    with pytest.raises(TaskError, match=r"centuries=\[7\]"):
        greater_than(gpt2, 2, centuries=[7])
    with pytest.raises(TokenizerError, match=r"splits 00 into \['0', '0'\]"):
        greater_than(toy, 2)
    with pytest.raises(TaskError, match="Did you mean '01'"):
        greater_than(gpt2, 2).pairs("1")
    with pytest.raises(TaskError, match="Did you mean 'prob_diff'"):
        greater_than(gpt2, 2).metric("probdiff")


DIGITS = [("Ġ", "1"), ("Ġ1", "7"), *((str(a), str(b)) for a in range(10) for b in range(10))]
TAIL = ["to", "the", "year"]


def test_a_tokenizer_that_splits_the_words_is_refused(make_toy):
    # "to the year" is whole, so that the years stand where they should, and "lasted" is not
    merges = [(("Ġ" + word)[:i], word[i - 1]) for word in TAIL for i in range(1, len(word) + 1)]
    tokenizer = make_toy([*DIGITS, *dict.fromkeys(merges)])
    assert len(tokenizer(" to the year 1732")["input_ids"]) == 5
    with pytest.raises(TokenizerError, match="does not make one token of each word"):
        greater_than(tokenizer, 2)


def test_a_century_whose_year_01_is_one_token_is_left_out(make_toy):
    tokenizer = make_toy([*DIGITS, ("Ġ17", "01")])
    assert len(tokenizer(" 1702")["input_ids"]) == 2
    with pytest.raises(TokenizerError, match="splits no year"):
        greater_than(tokenizer, 2, centuries=[17])


def test_bad_groups_are_refused(gpt2):
    task = greater_than(gpt2, 2)
    pairs = task.pairs()
    right = torch.zeros(2, 1, 3, dtype=torch.bool)
    with pytest.raises(TaskError, match="all tokens of the set are correct, or none"):
        group_difference(pairs, torch.tensor([1, 2, 3]), right)
    with pytest.raises(TaskError, match=r"= \[2, 1, 2\], got \[2, 1, 3\]"):
        group_difference(pairs, torch.tensor([1, 2]), right)
    with pytest.raises(TaskError, match="3 tokens and 2 different"):
        group_difference(pairs, torch.tensor([1, 2, 2]), right)
