"""Summaries and card rows of anchored answers hold the results' numbers, and say what is told."""

import pytest

from mechbench.analyses.anchored_bias import anchored_bias
from mechbench.analyses.attention_recalibration import attention_recalibration
from mechbench.analyses.edit_side_effects import edit_side_effects
from mechbench.analyses.edited_choices import edited_choices
from mechbench.analyses.label_free_debiasing import label_free_debiasing
from mechbench.analyses.value_vector_update import value_vector_update
from mechbench.analyses.value_vectors import value_vectors
from mechbench.experiments.card_measures import card_measures
from mechbench.experiments.estimates import with_interval
from mechbench.experiments.summary import headline, summary_tables
from mechbench.training.measured import measured_section
from tests.analyses.choice_models import choices, planted_model


@pytest.fixture(scope="module")
def results():
    model = planted_model()
    task = choices(12, families=["attribute"])
    few = dict(n_random=1)
    return {
        "bias": anchored_bias(model, task, other_labels=("P",)),
        "neurons": value_vectors(model, task),
        "update": value_vector_update(model, task, neurons=["2.7"], sweep=(8.0,), **few),
        "swap": attention_recalibration(model, task, counts=(1,), **few),
        "free": label_free_debiasing(model, task, n_neurons=(1,), lambdas=(4.0,), **few),
        "side": edit_side_effects(
            model, task, neurons=["2.7"], others={"induction": {"n": 2}}, n_texts=2
        ),
    }


def test_headlines_have_intervals_controls_and_what_is_told(results):
    lines = headline(results)
    rates = results["bias"].rates.sel(measure="anchored", set="all", labels="A")
    assert with_interval(rates.sel(argmax="any token")) in lines[0] and "one at random" in lines[0]
    assert "P, ...: " in lines[1]
    update = next(line for line in lines if line.startswith("Value vectors 2.7 edited"))
    assert "random neurons" in update and "always B" in update and "told each prompt" in update
    assert any("were restored bit for bit" in line for line in lines)
    assert any("in random heads" in line for line in lines)
    assert any("Perplexity of 2 answers" in line and "on induction" in line for line in lines)


def test_tables_show_neurons_and_debiasing(results):
    neurons, debiasing = summary_tables(results)
    assert [row[0] for row in neurons.rows] == ["2.7"] and neurons.rows[0][-1].startswith("A ")
    assert "right label (told the right label)" in [row[0] for row in debiasing.rows]
    assert debiasing.columns == ("method", "failing", "gold first", "gold later", "all")


def test_cards_get_a_row_of_each_control(results):
    rows = card_measures(results, "mechbench run mcq_anchored")
    names = [row["what"] for row in rows]
    for what in (
        "direct gap (logits) of neuron 2.7",
        "accuracy on failing prompts, edit of 1 value vectors: right label",
        "accuracy on failing prompts, edit of 1 value vectors: random neurons",
        "failing prompts that still answer the first label, edit of 1 value vectors: λ2 = 0",
        "accuracy where the first option is right, edit of 1 value vectors: λ2 = 0",
        "accuracy where a later option is right: chosen edit",
    ):
        assert what in names
    assert f"| {names[0]} |" in measured_section(rows)


def test_an_edit_is_summed_up_with_its_change_and_its_control():
    model = planted_model()
    task = choices(12, families=["attribute"])
    options = dict(neurons=["2.7"], target="right label", n_random=1)
    result = edited_choices(model, task, **options)
    (line,) = headline({"edit": result})
    at = dict(measure="answered first label", items="gold later", argmax="any token")
    for edit in ("chosen neurons", "random neurons"):
        assert with_interval(result.change.sel(edit=edit, **at)) in line
    assert with_interval(result.rates.sel(edit="no edit", **at)) in line
    assert "told each prompt's answer" in line and "restored bit for bit" in line
    early = choices(6, families=["attribute"], gold="as_given").select([0, 1])
    (line,) = headline({"edit": edited_choices(model, early, **options)})
    assert "nan" not in line
