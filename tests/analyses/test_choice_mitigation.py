"""Swapped attention, debiasing without right labels, and published numbers beside measured ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.analyses.attention_recalibration import attention_recalibration
from mechbench.analyses.common.choices import answers_of
from mechbench.analyses.common.halves import calibration_and_test
from mechbench.analyses.common.label_attention import places
from mechbench.analyses.common.label_free import calibrated, label_offsets, unevenness
from mechbench.analyses.compare_choices import compare_choices
from mechbench.analyses.label_free_debiasing import label_free_debiasing
from mechbench.errors import SpecError, TaskError, UnsupportedHookError
from mechbench.experiments.published import published_section
from mechbench.models.source import ModelSource
from mechbench.results.choices import ANY_TOKEN
from tests.analyses.choice_models import POINTER, choice_model, choices, planted_model

HEAD = "{}.{}".format(*POINTER)


@pytest.fixture(scope="module")
def planted():
    return planted_model()


@torch.no_grad()
def reading_model():
    """The planted model without its neuron, whose head alone says the label that it looks at."""
    model = planted_model(loudness=0.0)
    layer, head = POINTER
    attn = model.blocks[layer].attn
    ids = [model.tokenizer.convert_tokens_to_ids(x) for x in "ABCD"]
    labels = model.W_E[ids] - model.W_E[ids].mean(0)
    attn.W_V[head].zero_()
    attn.W_O[head].zero_()
    for i in range(4):
        attn.W_V[head][:, i] = labels[i] / labels[i].norm()
        attn.W_O[head][i] = 20 * model.W_U[:, ids[i]]
    model.unembed.b_U.zero_()
    return model


def test_swapping_attention_repairs_a_model_that_reads_the_label():
    model, task = reading_model(), choices(24, gold="not_first")
    result = attention_recalibration(model, task, counts=(1,), n_random=3)
    assert result.heads == (HEAD,) and result.chosen
    failing = result.rates.sel(measure="accuracy", argmax=ANY_TOKEN, items="failing", heads=1)
    found = {str(s): float(failing.sel(swap=s, estimate="mean")) for s in failing.swap.values}
    assert found["unchanged"] == 0 and found["first and right label"] == 1
    assert found["random heads"] == 0 and found["two other positions"] == 0
    attention = result.attention.sel(heads=HEAD, estimate="mean")
    assert float(attention.sel(place="first label")) > 0.9 > 0.1 > float(attention[1])


@torch.no_grad()
def test_a_swap_exchanges_two_entries_of_the_pattern():
    model, task = choice_model(), choices(12, gold="not_first")
    heads = [f"{layer}.{head}" for layer in (1, 2) for head in range(4)]
    with pytest.raises(TaskError, match="of these fail"):
        attention_recalibration(model, task, heads=heads)
    biased = choice_model()
    biased.unembed.b_U[task.label_ids[0]] = 12.0  # everything fails
    result = attention_recalibration(biased, task, heads=heads, counts=(8,), n_random=1)
    _, test = calibration_and_test(task, 0.5, seed=0)
    where = places(test, "label", 0)
    expected = []
    for i in range(len(test)):
        a, g = int(where.first[i]), int(where.right[i])

        def swap(pattern, hook, a=a, g=g):
            pattern[:, :, -1, [a, g]] = pattern[:, :, -1, [g, a]]
            return pattern

        hooks = [(f"blocks.{layer}.attn.hook_pattern", swap) for layer in (1, 2)]
        with biased.hooks(hooks):
            logits = biased(test.clean[i, None, : test.lengths[i]])[0, -1]
        expected.append(float(logits.softmax(-1)[test.label_ids[test.gold[i]]]))
    found = result.probability.sel(swap="first and right label", heads=8, items="all")
    assert float(found.sel(estimate="mean")) == pytest.approx(np.mean(expected), rel=1e-3)
    unchanged = result.probability.sel(swap="unchanged", heads=8, items="all", estimate="mean")
    assert float(unchanged) != pytest.approx(np.mean(expected), rel=1e-3)
    assert not result.chosen and result.gap is None and "right label" in result.statement


def test_places_do_not_coincide():
    task = choices(40)
    where = places(task, "label", seed=1)
    last = task.answer_positions
    for random in (where.random, where.random_too):
        assert ((random > 0) & (random < last)).all()
        assert (random != where.first).all() and (random != where.right).all()
    assert (where.random != where.random_too).all()


def test_halves_have_nothing_in_common():
    task = choices(20)
    one, other = calibration_and_test(task, 0.3, seed=4)
    assert len(one) == 6 and len(other) == 14
    assert {i.question for i in one.items}.isdisjoint(i.question for i in other.items)
    with pytest.raises(TaskError, match="puts 20 of 20"):
        calibration_and_test(task, 1.0, seed=0)


def test_debiasing_does_not_look_at_right_labels(planted):
    task = choices(24)
    few = dict(lambdas=(4.0,), n_neurons=(1, 2), n_random=1)
    result = label_free_debiasing(planted, task, **few)
    turned = [replace(i, gold=(i.gold + 1) % len(i.options)) for i in task.items]
    other = replace(task, items=tuple(turned), gold=torch.tensor([item.gold for item in turned]))
    again = label_free_debiasing(planted, other, **few)
    assert again.chosen == result.chosen and again.neurons == result.neurons
    assert again.unevenness.equals(result.unevenness) and again.offsets.equals(result.offsets)
    free = [m for m in result.answers.debiasing.values if m != "right label"]
    assert again.answers.sel(debiasing=free).equals(result.answers.sel(debiasing=free))
    assert not again.rates.equals(result.rates)
    assert [m for m, uses in result.uses_right_label.items() if uses] == ["right label"]


def test_debiasing_finds_the_planted_neuron_and_is_compared(planted):
    task = choices(32, families=["attribute"])
    result = label_free_debiasing(planted, task, n_neurons=(1,))
    assert result.neurons == ("2.7",) and float(result.pull[0]) > 5
    best = float(result.unevenness.min())
    assert best < result.unevenness_unedited
    at = {"kind": result.chosen["kind"], "lambda": result.chosen["lambda"], "n_neurons": 1}
    assert float(result.unevenness.sel(at)) == best
    rates = result.rates.sel(estimate="mean", measure="accuracy", argmax=ANY_TOKEN)
    failing = rates.sel(items="failing")
    assert (
        float(failing.sel(debiasing="no edit")) == 0
        and float(failing.sel(debiasing="right label")) == 1
    )
    assert float(failing.sel(debiasing="chosen edit")) < 1  # it is not told the answers
    gain = result.gain.sel(items="all", argmax=ANY_TOKEN, estimate="mean")
    for method in rates.debiasing.values:
        own = rates.sel(items="all")
        expected = float(own.sel(debiasing=method) - own.sel(debiasing="no edit"))
        assert float(gain.sel(debiasing=method)) == pytest.approx(expected)


def test_offsets_make_labels_even_and_order_is_kept():
    model, task = choice_model(), choices(40, n_options=4, families=["attribute"])
    answers = answers_of(model, task)
    offsets = label_offsets(answers)
    assert float(offsets.mean()) == pytest.approx(0, abs=1e-12)
    level = calibrated(answers, task, offsets)
    assert level.log_probs.mean(0).std() < 1e-9 < answers.log_probs.mean(0).std()
    np.testing.assert_allclose(level.log_probs + offsets, answers.log_probs)
    same = calibrated(answers, task, torch.zeros(4, dtype=torch.float64))
    assert torch.equal(same.chosen(task, ANY_TOKEN), answers.chosen(task, ANY_TOKEN))


def test_unevenness_is_zero_for_even_labels_alone():
    task = choices(8, n_options=4, families=["attribute"])
    answers = answers_of(choice_model(), task)
    even = replace(answers, log_probs=torch.full((8, 4), 0.25, dtype=torch.float64).log())
    assert unevenness(even, task) == pytest.approx(0)
    half = replace(answers, log_probs=torch.full((8, 4), 0.125, dtype=torch.float64).log())
    assert unevenness(half, task) == pytest.approx(0.5)  # half of it on other tokens


def test_bad_options(planted):
    task = choices(12, families=["attribute"], gold="not_first")
    with pytest.raises(TaskError, match="must be 1 or more"):
        attention_recalibration(planted, task, counts=())
    with pytest.raises(TaskError, match="at='word' is not known"):
        attention_recalibration(planted, task, at="word")
    with pytest.raises(UnsupportedHookError, match="no head 3.0"):
        attention_recalibration(planted, task, heads=["3.0"])
    with pytest.raises(TaskError, match="each needs at least one value"):
        label_free_debiasing(planted, task, lambdas=())
    with pytest.raises(UnsupportedHookError, match="no neuron 48"):
        label_free_debiasing(planted, task, neurons=["2.48"])


# --- published numbers ----------------------------------------------------------------------------


def test_nothing_is_put_beside_numbers_of_another_model(planted):
    result = compare_choices(planted, choices(24))
    assert not result.comparable and result.published_model == "GPT-2 small"
    assert np.isnan(result.here).all() and set(result.status) == {"untested here"}
    assert result.found == ("2.7",) and result.edited_published == "9.1853"
    ours = result.published_everywhere.sel(row="anchored rate, ioi")
    assert ours.values.tolist() == [0.455, 0.974, 1.0, 0.858]
    section = published_section({"compare": result})
    assert not section.comparable and len(section.tables) == 1
    assert "mechbench run mcq_gpt2 --model gpt2" in section.untested[0]


def test_a_model_of_the_published_sizes_is_measured(planted, tmp_path):
    import json

    from mechbench.analyses.common.published_choices import _FILE

    data = json.loads(_FILE.read_text(encoding="utf-8"))
    cfg = planted.cfg
    sizes = {s: getattr(cfg, s) for s in ("n_layers", "n_heads", "d_model", "d_vocab")}
    data["models"][2] |= sizes
    data["edited_vector"]["values"]["GPT-2 large"] = "2.7"
    file = tmp_path / "published.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    task = choices(16, families=["attribute", "greater_than"], gold="not_first")
    items = [replace(i, set_name="ioi" if i.set_name == "attribute" else "arc") for i in task.items]
    task = replace(task, items=tuple(items))
    own = planted_model()
    own.source = ModelSource(name="somewhere", kind="folder")
    result = compare_choices(own, task, published=file)
    assert result.comparable and result.published_model == "GPT-2 large"
    here = result.here.sel(estimate="mean")
    rows = {row: float(here.sel(row=row)) for row in (str(r) for r in here.row.values)}
    assert rows["anchored rate, ioi"] == 1 and rows["anchored rate, arc"] == 0
    assert rows["accuracy of failing prompts after the value-vector update, ioi"] == 1
    assert (
        "0 of these fail"
        in result.reasons["accuracy of failing prompts after the value-vector update, arc"]
    )
    assert "fewer than two prompts of the set 'csqa'" in result.reasons["anchored rate, csqa"]
    assert result.n[0] == 8
    section = published_section({"compare": result})
    beside, everywhere = section.tables
    row = next(r for r in beside.rows if r[0] == "anchored rate, ioi")
    assert row[1:] == ("1.000 (S)", "1.000 [1.000, 1.000]", "8", "measured here")
    untested = next(r for r in beside.rows if r[0] == "anchored rate, csqa")
    assert untested[2:] == ("", "", "untested here")
    assert len(everywhere.rows) == len(result.published)


def test_published_numbers_that_cannot_be_read(planted, tmp_path):
    (tmp_path / "broken.json").write_text("{}")
    for name in ("broken.json", "none.json"):
        with pytest.raises(SpecError, match=name):
            compare_choices(planted, choices(12), published=tmp_path / name)
