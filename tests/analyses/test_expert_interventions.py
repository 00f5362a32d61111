"""Expert interventions against whole runs with the weights written by hand."""

import numpy as np
import pytest
import torch

from mechbench.analyses.common.expert_weights import expert_hooks
from mechbench.analyses.expert_interventions import expert_interventions
from mechbench.errors import TaskError
from mechbench.results.expert_interventions import ANSWERS, EVERY
from tests.analyses.expert_models import KINDS, reading_the_corpus, repeats, with_experts


def mean(values):
    return values.sel(estimate="mean")


def taken_out(weights, expert):
    left = weights.clone()
    left[..., expert] = 0
    total, rest = weights.sum(-1, keepdim=True), left.sum(-1, keepdim=True)
    return torch.where(rest > 0, left * total / rest.clamp(min=1e-30), 0.0)


def swapped(weights, one, other):
    order = list(range(weights.shape[-1]))
    order[one], order[other] = other, one
    return weights[..., order]


def forced(weights, expert):
    only = torch.zeros_like(weights)
    only[..., expert] = weights.sum(-1)
    return only


@torch.no_grad()
def scores(model, task, hooks):
    """Loss over all tokens and over answers, and the metric, of the task's prompts."""
    pairs, metric = task.pairs(), task.metric()
    logprobs = model.run_with_hooks(pairs.clean, fwd_hooks=hooks).log_softmax(-1)
    terms, answers = [], []
    at = pairs.answer_positions.tolist()
    for row, ids in enumerate(pairs.clean.tolist()):
        wanted = dict(enumerate(ids[1:])) | dict(
            zip(at[row], pairs.answers[row].tolist(), strict=True)
        )
        losses = {p: -float(logprobs[row, p, token]) for p, token in wanted.items()}
        terms.append(np.mean(list(losses.values())))
        answers.append(np.mean([losses[p] for p in at[row]]))
    with model.hooks(hooks):
        logits = model.answer_logits(pairs.clean, metric.positions, metric.vocab)
    return np.mean(terms), np.mean(answers), float(metric(logits).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_those_of_whole_runs(kind, monkeypatch):
    monkeypatch.setattr("mechbench.analyses.common.expert_runs.ROWS_AT_ONCE", 3)
    model = with_experts(kind)
    task = repeats(model)
    result = expert_interventions(model, task, on="task", n_random=1)
    every, answers, metric = scores(model, task, [])
    found = mean(result.base_loss)[:, 0]
    np.testing.assert_allclose(found, [every, answers], atol=1e-4)
    assert float(mean(result.base_metric)) == pytest.approx(metric, abs=1e-4)
    for layer, name in expert_hooks(model).items():
        for action, change in (
            ("out 1", lambda w, hook: taken_out(w, 1)),
            ("swap 0 2", lambda w, hook: swapped(w, 0, 2)),
            ("only 2", lambda w, hook: forced(w, 2)),
        ):
            after = scores(model, task, [(name, change)])
            at = {"layer": layer, "action": action}
            loss = mean(result.loss).sel(at)[:, 0]
            np.testing.assert_allclose(loss, [after[0] - every, after[1] - answers], atol=1e-4)
            assert float(mean(result.metric).sel(at)) == pytest.approx(after[2] - metric, abs=1e-4)
    assert float(abs(result.metric).max()) > 0.01


def test_equal_experts_can_be_exchanged():
    model = with_experts()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith((".mlp.W_gate", ".mlp.W_in", ".mlp.W_out")):
                weight[:] = weight[0].clone()
    result = expert_interventions(model, repeats(model), on="task")
    assert float(abs(result.loss).max()) < 1e-5 and float(abs(result.metric).max()) < 1e-5


def test_an_expert_that_nobody_chooses_is_not_missed():
    model = with_experts("deepseek-v2")
    task = repeats(model, n=2, half_length=2)
    result = expert_interventions(model, task, on="task", n_random=1)
    seen = set()
    for layer, name in expert_hooks(model).items():
        with torch.no_grad():
            weights = model.run_with_cache(task.clean, names_filter=name)[1][name]
        for expert in range(weights.shape[-1]):
            used = bool(weights[..., expert].any())
            change = result.loss.sel(layer=layer, action=f"out {expert}")
            assert (float(abs(change).max()) > 1e-6) == used
            seen.add(used)
    assert seen == {True, False}


def test_losses_by_domain():
    model = reading_the_corpus(segment_length=32, n_layers=2, n_experts=2)
    task = repeats(model)
    result = expert_interventions(model, task, rows=2, n_random=2)
    assert result.loss.dims == ("estimate", "scored", "domain", "layer", "action")
    assert result.loss.shape == (3, 2, 6, 2, 8) and result.n_texts == 12
    assert result.metric.shape == (3, 2, 8) and result.metric_name == task.metric().name
    assert result.loss["scored"].values.tolist() == [EVERY, ANSWERS]
    assert float(abs(mean(result.loss)).min()) > 0
    # of two experts, swapping both is the only swap, at random too
    np.testing.assert_allclose(
        result.loss.sel(action="swap 0 1"), result.loss.sel(action="swap random"), atol=1e-6
    )


def test_a_control_is_needed():
    model = with_experts()
    with pytest.raises(TaskError, match="n_random=0 must be at least 1"):
        expert_interventions(model, repeats(model), on="task", n_random=0)
