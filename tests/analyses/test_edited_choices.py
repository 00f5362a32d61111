"""Confusions before and after equal those of weights edited by hand, and nothing is left behind."""

import numpy as np
import pytest
import torch

from mechbench.analyses import edited_choices as module
from mechbench.analyses.edited_choices import edited_choices
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.results.choices import always
from tests.analyses.choice_models import choice_model, choices, planted_model, words

PAIR = ["2.7", "1.3"]
TARGETS = ("right label", "λ2 = 0", "mean of later", always("C"))


def bits(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(weight, before[name]) for name, weight in bits(model).items())


@pytest.fixture(scope="module")
def planted():
    return planted_model()


@torch.no_grad()
def labelling_model():
    """Random weights that answer now one label and now another, or another token."""
    model = choice_model()
    for label in "ABCD":
        model.unembed.b_U[words().convert_tokens_to_ids(label)] += 3.0
    return model


@torch.no_grad()
def by_hand(model, task, neurons, target, lambda1, lambda2):
    """Answers (prompt): 0..3 for a label, 4 for any other token; one prompt after the other."""
    U = model.unembed.W_U
    ids = [words().convert_tokens_to_ids(x) for x in "ABCD"]
    found = []
    for i, item in enumerate(task.items):
        later = range(1, len(item.options))
        put = {
            "right label": U[:, ids[item.gold]],
            "λ2 = 0": torch.zeros_like(U[:, 0]),
            "mean of later": torch.stack([U[:, ids[k]] for k in later]).mean(0),
            "always C": U[:, ids[2]],
        }[target]
        kept = {}
        for name in neurons:
            layer, neuron = map(int, name.split("."))
            row = model.blocks[layer].mlp.W_out.data[neuron]
            kept[name] = row, row.clone()
            row += lambda2 * put - lambda1 * U[:, ids[0]]
        best = int(model(task.clean[i, None, : task.lengths[i]])[0, -1].argmax())
        for row, before in kept.values():
            row.copy_(before)
        offered = ids[: len(item.options)]
        found.append(offered.index(best) if best in offered else 4)
    return np.array(found)


def counted(task, answered):
    table = np.zeros((4, 5))
    np.add.at(table, (task.gold.numpy(), answered), 1)
    return table


@pytest.mark.parametrize("target", TARGETS)
def test_confusions_and_rates_are_those_of_weights_edited_by_hand(target):
    model, task = labelling_model(), choices(20, seed=3)
    before = bits(model)
    strength = dict(lambda1=2.0, lambda2=1.5)
    result = edited_choices(model, task, neurons=PAIR, target=target, n_random=2, **strength)
    assert same(model, before) and result.restored
    plain = by_hand(model, task, [], target, **strength)
    chosen = by_hand(model, task, PAIR, target, **strength)
    assert len(set(plain)) > 2 and (plain != chosen).any()
    draws = [by_hand(model, task, list(draw), target, **strength) for draw in result.random]
    counts = result.counts.sel(argmax="any token")
    np.testing.assert_array_equal(counts.sel(edit="no edit"), counted(task, plain))
    np.testing.assert_array_equal(counts.sel(edit="chosen neurons"), counted(task, chosen))
    mean = sum(counted(task, draw) for draw in draws) / 2
    np.testing.assert_allclose(counts.sel(edit="random neurons"), mean)
    share = result.confusion.sel(argmax="any token", estimate="mean")
    for edit in counts["edit"].values:
        table = counts.sel(edit=edit).values
        np.testing.assert_allclose(share.sel(edit=edit), table / table.sum(1, keepdims=True))
    gold = task.gold.numpy()
    at = {"argmax": "any token", "estimate": "mean"}
    accuracy, first = (result.rates.sel(measure=m, **at) for m in ("accuracy", _FIRST))
    np.testing.assert_allclose(
        accuracy.sel(items="all"),
        [(plain == gold).mean(), (chosen == gold).mean(), np.mean([d == gold for d in draws])],
    )
    later = gold > 0
    np.testing.assert_allclose(
        first.sel(items="gold later", edit="chosen neurons"), (chosen[later] == 0).mean()
    )
    change = result.change.sel(measure="accuracy", items="all", edit="chosen neurons", **at)
    np.testing.assert_allclose(change, (chosen == gold).mean() - (plain == gold).mean())
    beyond = result.beyond_random.sel(measure="accuracy", items="all", **at)
    own = (chosen == gold).mean() - np.mean([d == gold for d in draws])
    np.testing.assert_allclose(beyond, own)


_FIRST = "answered first label"


def test_changes_are_paired_by_prompt(planted):
    """All failing prompts are repaired at once, so the change has no spread at all."""
    task = choices(24, families=["attribute"], gold="not_first")
    result = edited_choices(planted, task, neurons=["2.7"], target="right label", n_random=1)
    at = {"measure": "accuracy", "items": "failing", "argmax": "any token"}
    for values, wanted in (
        (result.change.sel(edit="chosen neurons", **at), 1),
        (result.change.sel(edit="random neurons", **at), 0),
        (result.beyond_random.sel(**at), 1),
    ):
        np.testing.assert_allclose(values, wanted, atol=1e-12)


def test_the_control_has_as_many_other_neurons_of_the_same_layers(planted):
    result = edited_choices(planted, choices(8), neurons=["2.7", "2.9", "1.3"], n_random=4)
    for draw in result.random:
        assert sorted(name.split(".")[0] for name in draw) == ["1", "2", "2"]
        assert not set(draw) & {"2.7", "2.9", "1.3"}
    assert len(set(result.random)) > 1


def test_neurons_are_found_where_none_are_given(planted):
    task = choices(24)
    assert edited_choices(planted, task, n_random=1).neurons == ("2.7",)
    assert not edited_choices(planted, task, neurons=["2.7"]).uses_right_label
    assert edited_choices(planted, task, neurons=["2.7"], target="right label").uses_right_label


def test_weights_come_back_after_an_error_too(planted, monkeypatch):
    before, own, calls = bits(planted), module.answers_of, []

    def fails_under_the_edit(model, task, *args):
        calls.append(same(model, before))
        if not calls[-1]:
            raise RuntimeError("out of memory")
        return own(model, task, *args)

    monkeypatch.setattr(module, "answers_of", fails_under_the_edit)
    with pytest.raises(RuntimeError, match="out of memory"):
        edited_choices(planted, choices(8), neurons=PAIR)
    assert calls == [True, False] and same(planted, before)


def test_progress_counts_every_run(planted):
    seen = []
    edited_choices(
        planted, choices(6), neurons=PAIR, n_random=2, progress=lambda *at: seen.append(at)
    )
    assert seen == [(i, 4) for i in range(1, 5)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"neurons": []}, TaskError, "No neurons were given"),
        ({"neurons": ["2.7", "2.7"]}, TaskError, "named once"),
        ({"neurons": ["9.0"]}, UnsupportedHookError, "no layer 9"),
        ({"neurons": ["2.48"]}, UnsupportedHookError, "no neuron 48"),
        ({"neurons": PAIR, "target": "always A"}, TaskError, "'always A' is not known"),
        ({"neurons": PAIR, "n_random": 0}, TaskError, "at least 1"),
    ],
)
def test_bad_options(planted, options, error, message):
    with pytest.raises(error, match=message):
        edited_choices(planted, choices(6), **options)
