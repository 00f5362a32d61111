"""Edits in a batch equal edits in the weights, do what the planted model says, leave nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.analyses.common.edited_answers import EditedAnswers, PromptEdits
from mechbench.analyses.common.label_edits import label_directions, targets
from mechbench.analyses.edit_side_effects import edit_side_effects
from mechbench.analyses.value_vector_update import value_vector_update
from mechbench.errors import StoreError, TaskError, UnsupportedHookError
from mechbench.interventions.weight_edits import ValueVectorEdit, edited, layers_sharing
from mechbench.models.variants.looped import SPEC as LOOPED
from mechbench.results.choices import always
from tests.analyses.choice_models import choice_model, choices, planted_model, words
from tests.analyses.test_choice_localisation import bridged_choice_model

NEURON = "2.7"


def bits(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


@torch.no_grad()
def looped_model():
    """Two blocks that are run twice: an edit of layer 0 or 1 is one of layer 2 or 3 as well."""
    sizes = dict(n_blocks=2, n_loops=2, n_heads=4, d_model=64, d_vocab=len(words()), n_ctx=96)
    model = LOOPED.build(replace(LOOPED.presets["tiny"], **sizes), "looped")
    for name, weight in model.named_parameters():
        weight.add_(torch.randn_like(weight) * (0.15 if ".W_" in name else 0.1))
    assert layers_sharing(model, 1) == (1, 3)
    return model


@pytest.fixture(scope="module")
def planted():
    return planted_model()


@pytest.fixture(scope="module")
def result(planted):
    task = choices(24)
    return value_vector_update(planted, task, neurons=[NEURON], sweep=(0.0, 4.0), n_random=2)


@torch.no_grad()
def one_by_one(model, task, edits):
    """Label log-probabilities and likeliest tokens with edits written for each prompt alone."""
    log_probs, tops = [], []
    for i in range(len(task)):
        rows = [e.add[0] if len(e.add) == 1 else e.add[i] for e in edits]
        own = [ValueVectorEdit(*e.neuron, row) for e, row in zip(edits, rows, strict=True)]
        with edited(model, own):
            logits = model(task.clean[i, None, : task.lengths[i]])[0, -1].double()
        tops.append(int(logits.argmax()))
        offered = task.label_ids[: int(task.n_options[i])]
        log_probs.append(logits.log_softmax(-1)[offered])
    return log_probs, tops


@pytest.mark.parametrize("kind", ["ours", "looped", "Llama", "GPTNeoX"])
def test_a_batch_of_edits_equals_edits_of_the_weights(tmp_path, kind):
    task = choices(6, seed=2)
    model = choice_model()
    if kind == "looped":
        model = looped_model()
    elif kind != "ours":
        model = bridged_choice_model(tmp_path, kind)
    d = model.cfg.d_model
    before = bits(model)
    to = dict(dtype=model.cfg.dtype)
    edits = [
        PromptEdits((1, 3), torch.randn(len(task), d, **to)),
        PromptEdits((1, 3), torch.randn(1, d, **to)),
        PromptEdits((1, 20), torch.randn(len(task), d, **to)),
        PromptEdits((0, 7), torch.randn(1, d, **to)),
    ]
    runs = EditedAnswers(model, task)
    for chosen in (edits[:1], edits):
        found = runs.under(chosen)
        log_probs, tops = one_by_one(model, task, chosen)
        assert found.top.tolist() == tops
        for i, row in enumerate(log_probs):
            torch.testing.assert_close(found.log_probs[i, : len(row)], row, atol=1e-5, rtol=0)
    plain, moved = runs.under([]), runs.under(edits)
    assert (plain.log_probs - moved.log_probs).nan_to_num().abs().max() > 0.1
    after = bits(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_interrupted_work_goes_on_from_its_file(tmp_path):
    model, task = choice_model(), choices(6, seed=2)
    edits = [PromptEdits((1, 3), torch.randn(1, 64))]
    first = EditedAnswers(model, task, tmp_path / "kept.npz")
    found = first.under(edits)
    first.save()
    again = EditedAnswers(model, task, tmp_path / "kept.npz")
    again.model = None  # nothing may be run
    kept = again.under(edits)
    assert torch.equal(kept.log_probs, found.log_probs) and torch.equal(kept.top, found.top)
    assert torch.equal(kept.other, found.other)
    with pytest.raises(StoreError, match="other work"):
        EditedAnswers(model, task.select([0, 1]), tmp_path / "kept.npz")


def test_targets_are_unembedding_columns():
    model, task = choice_model(), choices(8)
    U = model.W_U.detach().T
    ids = {x: words().convert_tokens_to_ids(x) for x in "ABCD"}
    found = targets(task, model.W_U)
    for i, item in enumerate(task.items):
        assert torch.equal(found["right label"][i], U[ids["ABCD"[item.gold]]])
        later = torch.stack([U[ids[x]] for x in "BCD"[: len(item.options) - 1]]).mean(0)
        torch.testing.assert_close(found["mean of later"][i], later)
    assert torch.equal(found[always("C")][0], U[ids["C"]]) and not found["λ2 = 0"].any()
    assert torch.equal(label_directions(task, model.W_U)[0], U[ids["A"]])


def rates(result, **at):
    at = {"argmax": "any token", "edited": NEURON, "estimate": "mean", **at}
    return result.rates.sel(at)


def test_the_planted_model_does_what_the_edits_say(result):
    failing = rates(result, measure="accuracy", items="failing")
    assert float(failing.sel(edit="no edit")) == 0
    assert float(failing.sel(edit="right label")) == 1
    assert float(failing.sel(edit="random neurons")) == 0
    golds = np.array([item.gold for item in choices(24).items if item.set_name == "attribute"])
    later = golds[golds > 0]
    for i, label in enumerate("BCD", start=1):
        # the same label for all prompts is right as often as it happens to be right
        assert float(failing.sel(edit=always(label))) == pytest.approx((later == i).mean())
    still = rates(result, measure="answered first label", items="failing")
    assert float(still.sel(edit="no edit")) == 1 and float(still.sel(edit="right label")) == 0
    first = rates(result, measure="accuracy", items="gold first")
    assert float(first.sel(edit="no edit")) == float(first.sel(edit="right label"))
    assert float(first.sel(edit=always("B"))) == 0
    grouped = result.rates.sel(edited="all together").drop_vars("edited")
    assert grouped.equals(result.rates.sel(edited=NEURON).drop_vars("edited"))


def test_curve_confusion_and_counts_agree_with_the_rates(result):
    assert list(result.curve.lambda2.values) == [0, 4, 8]
    assert (
        result.curve.sel(lambda2=8)
        .drop_vars("lambda2")
        .equals(result.rates.sel(edit="right label").drop_vars("edit"))
    )
    assert (
        result.curve.sel(lambda2=0)
        .drop_vars("lambda2")
        .equals(result.rates.sel(edit="λ2 = 0").drop_vars("edit"))
    )
    assert result.n.sel(items="all") == 24
    gold = np.array([item.gold for item in choices(24).items])
    diagonal = [
        float(result.confusion.sel(edit="right label", argmax="any token", gold=g, answered=g)[0])
        for g in "ABCD"
    ]
    weights = [(gold == g).mean() for g in range(4)]
    whole = rates(result, measure="accuracy", items="all", edit="right label")
    assert float(whole) == pytest.approx(np.dot(diagonal, weights))
    rows = result.confusion.sel(estimate="mean").sum("answered")
    np.testing.assert_allclose(rows, 1)


def test_it_says_which_edits_use_the_right_label_and_that_weights_came_back(planted, result):
    told = [edit for edit, uses in result.uses_right_label.items() if uses]
    assert told == ["right label", "random neurons"]
    assert "told each prompt's answer" in result.statement
    assert result.restored and result.n_checked == 3 and result.largest_difference < 1e-5
    before = bits(planted)
    value_vector_update(planted, choices(12), sweep=(8.0,), n_random=1)
    assert all(torch.equal(weight, before[name]) for name, weight in bits(planted).items())


def test_neurons_are_found_where_none_are_given(planted):
    found = value_vector_update(planted, choices(24), sweep=(8.0,), n_random=1)
    assert found.neurons == (NEURON,)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"neurons": []}, TaskError, "No neurons were given, or none was found"),
        ({"neurons": ["2"]}, TaskError, "'2' is not a neuron"),
        ({"neurons": [2.7]}, TaskError, "loses its last zero"),
        ({"neurons": ["2.7", "2.7"]}, TaskError, "named once"),
        ({"neurons": ["3.0"]}, UnsupportedHookError, r"no layer 3: its layers are 0\.\.2"),
        ({"neurons": ["2.48"]}, UnsupportedHookError, r"no neuron 48: its neurons are 0\.\.47"),
        ({"n_random": 0}, TaskError, "at least one"),
        ({"sweep": []}, TaskError, "at least one"),
    ],
)
def test_bad_options(planted, options, error, message):
    with pytest.raises(error, match=message):
        value_vector_update(planted, choices(12), **options)


def test_a_task_in_which_nothing_fails_is_refused(planted):
    with pytest.raises(TaskError, match="12 prompts, in 6 of them .* 0 of these fail"):
        value_vector_update(planted, choices(12, families=["ioi"]), neurons=[NEURON])


# --- side effects ---------------------------------------------------------------------------------


def test_side_effects_are_those_of_the_edited_model(planted, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("Paul and Jane met at the church .\n\nwhich colour is the hat ?\n\n\nA : B .\n")
    task, before = choices(12), bits(planted)
    others = {"induction": {"n": 4, "half_length": 4}}
    result = edit_side_effects(planted, task, neurons=[NEURON], others=others, text=str(file))
    assert result.n_texts == 3 and result.n_other == {"induction": 4} and result.restored
    assert all(torch.equal(weight, before[name]) for name, weight in bits(planted).items())
    ids = {x: words().convert_tokens_to_ids(x) for x in "AB"}
    U = planted.W_U.detach()
    add = 8 * U[:, ids["B"]] - U[:, ids["A"]]
    texts = [" ".join(part.split()) for part in file.read_text().split("\n\n") if part.strip()]

    @torch.no_grad()
    def loss():
        total = count = 0
        for text in texts:
            row = torch.tensor([words()("<bos> " + text)["input_ids"]])
            total += float(planted(row, return_type="loss")) * (row.shape[1] - 1)
            count += row.shape[1] - 1
        return total / count

    plain = loss()
    with edited(planted, [ValueVectorEdit(2, 7, add)]):
        changed = loss()
    text = result.text.sel(estimate="mean")
    assert float(text.sel(measure="loss", edit="no edit")) == pytest.approx(plain, abs=1e-5)
    assert float(text.sel(measure="loss", edit="always B")) == pytest.approx(changed, abs=1e-5)
    assert float(text.sel(measure="perplexity", edit="no edit")) == pytest.approx(np.exp(plain))
    change = result.text_change.sel(edit="always B", estimate="mean")
    assert float(change) == pytest.approx(changed - plain, abs=1e-5) and changed != plain
    assert result.tasks is not None and result.task_change is not None
    assert not result.task_change.sel(edit="no edit").any()


@torch.no_grad()
def test_of_questions_only_the_answer_is_scored(planted):
    task = choices(4, seed=5)
    result = edit_side_effects(planted, task, neurons=[NEURON])
    losses = []
    for item in task.items:
        asked = f"<bos> Question: {item.question.rstrip('?')}? Answer:"
        row = torch.tensor([words()(asked)["input_ids"]])
        answer = words().convert_tokens_to_ids(item.options[item.gold])
        losses.append(-float(planted(row)[0, -1].log_softmax(-1)[answer]))
    own = result.text.sel(measure="loss", edit="no edit", estimate="mean")
    assert float(own) == pytest.approx(np.mean(losses), abs=1e-5)


def test_side_effects_refuse_what_they_cannot_do(planted, tmp_path):
    task = choices(12)
    with pytest.raises(TaskError, match="There is no task 'iou'"):
        edit_side_effects(planted, task, neurons=[NEURON], others={"iou": {}})
    with pytest.raises(TaskError, match="cannot be read"):
        edit_side_effects(planted, task, neurons=[NEURON], text=str(tmp_path / "none.txt"))
    (tmp_path / "one.txt").write_text("one paragraph")
    with pytest.raises(TaskError, match="holds 1 paragraphs"):
        edit_side_effects(planted, task, neurons=[NEURON], text=str(tmp_path / "one.txt"))
