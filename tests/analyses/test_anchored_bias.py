"""Rates on a model whose bias was written into it, by plain loops, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.analyses.anchored_bias import anchored_bias
from mechbench.errors import TaskError
from mechbench.models.variants.plain import SPEC as PLAIN
from mechbench.results.choices import ANY_TOKEN, OFFERED
from tests.analyses.choice_models import choice_model, choices, planted_model, words
from tests.analyses.reading_models import numbers


@pytest.fixture(scope="module")
def planted():
    return planted_model()


@pytest.fixture(scope="module")
def result(planted):
    return anchored_bias(planted, choices(24))


def rates(result, measure, argmax=ANY_TOKEN, labels="A"):
    return result.rates.sel(measure=measure, argmax=argmax, labels=labels)


def test_the_planted_rate_is_found_set_by_set(result):
    task = choices(24)
    anchored = rates(result, "anchored").sel(estimate="mean")
    assert anchored.sel(set=["ioi", "deduction", "greater_than"]).values.tolist() == [0, 0, 0]
    assert float(anchored.sel(set="attribute")) == 1
    later = (task.gold != 0).numpy()
    asks = np.array([s == "attribute" for s in task.sets])
    assert float(anchored.sel(set="all")) == pytest.approx(asks[later].mean())
    assert result.failing == tuple(np.flatnonzero(asks & later))
    assert result.n.sel(items="failing").values.tolist() == [len(result.failing), 0, 0, 0, 4]
    assert result.chance.sel(set="ioi") == 0.5 and result.chance.sel(set="attribute") == 0.25


def test_under_other_labels_the_article_remains(planted, result):
    # The neuron says the token A whatever the labels are: all of the bias is the token's prior.
    other = rates(result, "anchored", labels="P").sel(set="all", estimate="mean")
    assert float(other) == 0
    apart = result.without_article.sel(argmax=ANY_TOKEN, labels="P").sel(estimate="mean")
    assert float(apart) == float(rates(result, "anchored").sel(set="all", estimate="mean"))
    top = result.article.sel(measure="likeliest token", estimate="mean")
    asks = sum(s == "attribute" for s in choices(24).sets) / 24
    assert float(top.sel(labels="1")) == asks
    probability = result.article.sel(measure="probability", estimate="mean", labels="P")
    under_p = choices(24, labels="P")
    with torch.no_grad():
        rows = [planted(under_p.clean[i, None, :n])[0, -1] for i, n in enumerate(under_p.lengths)]
    expected = torch.stack(rows).softmax(-1)[:, words().convert_tokens_to_ids("A")].mean()
    assert float(probability) == pytest.approx(float(expected), abs=1e-6)


def test_answers_are_those_of_a_loop_of_single_prompts():
    model, task = choice_model(), choices(16, seed=3, gold="not_first")
    result = anchored_bias(model, task, other_labels=())
    counts = {argmax: np.zeros((4, 5), int) for argmax in (ANY_TOKEN, OFFERED)}
    for i, item in enumerate(task.items):
        text = task.texts[i]
        ids = words()(text, add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([[words().bos_token_id, *ids]]))[0, -1].detach()
        labels = [words().convert_tokens_to_ids(x) for x in "ABCD"[: len(item.options)]]
        counts[OFFERED][item.gold, int(logits[labels].argmax())] += 1
        top = int(logits.argmax())
        counts[ANY_TOKEN][item.gold, labels.index(top) if top in labels else 4] += 1
    for argmax, expected in counts.items():
        np.testing.assert_array_equal(result.confusion.sel(labels="A", argmax=argmax), expected)
    accuracy = sum(counts[OFFERED][g, g] for g in range(4)) / 16
    found = rates(result, "accuracy", OFFERED).sel(set="all")
    assert float(found.sel(estimate="mean")) == accuracy
    assert found.sel(estimate="low") <= accuracy <= found.sel(estimate="high")
    # no prompt has its right option first, so nothing can be said about those
    assert np.isnan(rates(result, "accuracy, gold first").values).all()
    offering = np.array([len(item.options) > 2 for item in task.items])
    wrong = result.wrong.sel(labels="A", argmax=OFFERED, option="C", estimate="mean")
    n_wrong = sum(counts[OFFERED][g, 2] for g in range(4) if g != 2)
    assert float(wrong) == pytest.approx(n_wrong / (offering.sum() - counts[OFFERED][2].sum()))


def test_padding_changes_nothing(planted):
    task = choices(24)
    alone = anchored_bias(planted, task.select([3, 7]), other_labels=())
    assert alone.failing == tuple(i for i, j in enumerate((3, 7)) if int(task.gold[j]))


def test_families_that_cannot_be_had_are_named():
    task = choices(8, families=["greater_than"])
    result = anchored_bias(choice_model(), task, other_labels=("X", "P"))
    assert list(result.rates.labels.values) == ["A", "P"]
    assert "label 'X'" in result.left_out["X"] or "X" in result.left_out["X"]


def test_what_is_refused():
    model, task = choice_model(), choices(6)
    with pytest.raises(TaskError, match="multiple-choice .* got the task 'induction'"):
        anchored_bias(model, numbers(model))
    with pytest.raises(TaskError, match="has 1 prompts"):
        anchored_bias(model, task.select([0]))
    config = replace(PLAIN.presets["tiny"], causal=False, d_vocab=len(words()), n_ctx=96)
    both_ways = PLAIN.build(config, "both-ways")
    with pytest.raises(TaskError, match="not causal, and the prompts have 31 to 48"):
        anchored_bias(both_ways, task)
    same = task.select(task.lengths == task.lengths[0])
    if len(same) > 1:
        anchored_bias(both_ways, same)
