"""One expert taken out, against whole runs with the weights written by hand."""

import numpy as np
import pytest
import torch

from mechbench.analyses.common.expert_weights import expert_hooks
from mechbench.analyses.expert_interventions import expert_interventions
from mechbench.analyses.expert_knockout import expert_knockout
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.expert_knockout import expert_knockout_figure
from mechbench.models.variants.gpt2 import SPEC as GPT2_SPEC
from mechbench.results.expert_interventions import ANSWERS, EVERY
from tests.analyses.expert_models import KINDS, reading_the_corpus, repeats, with_experts
from tests.analyses.test_expert_interventions import scores, taken_out


def mean(values):
    return values.sel(estimate="mean")


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_is_that_of_a_run_with_the_weights_written_by_hand(kind):
    model = with_experts(kind)
    task = repeats(model)
    every, answers, metric = scores(model, task, [])
    largest = 0.0
    for layer, name in expert_hooks(model).items():
        found = expert_knockout(model, task, layer=layer, expert=1, on="task")
        after = scores(model, task, [(name, lambda w, hook: taken_out(w, 1))])
        loss = mean(found.loss).sel(domain=task.name)
        assert float(loss.sel(scored=EVERY)) == pytest.approx(after[0] - every, abs=1e-4)
        assert float(loss.sel(scored=ANSWERS)) == pytest.approx(after[1] - answers, abs=1e-4)
        assert float(mean(found.metric)) == pytest.approx(after[2] - metric, abs=1e-4)
        assert float(mean(found.base_metric)) == pytest.approx(metric, abs=1e-4)
        assert found.merged == (kind == "lory")
        largest = max(largest, abs(after[2] - metric))
    assert largest > 0.005  # far above the tolerance


def test_the_control_takes_out_others_only():
    """Of two experts the other one is the only control; of more it is a mean over the others."""
    model = with_experts("lory", n_experts=2)
    task = repeats(model)
    found = [expert_knockout(model, task, expert=e, on="task", n_random=2) for e in (0, 1)]
    for one, other in (found, found[::-1]):
        np.testing.assert_allclose(one.metric_random, other.metric, atol=1e-6)
        np.testing.assert_allclose(one.loss_random, other.loss, atol=1e-6)
        beyond = mean(one.metric) - mean(one.metric_random)
        assert float(mean(one.metric_beyond)) == pytest.approx(float(beyond), abs=1e-9)
    model = with_experts("lory")
    every = expert_interventions(model, repeats(model), on="task")
    drawn = expert_knockout(model, repeats(model), expert=0, on="task", n_random=200)
    some = mean(drawn.metric_random)
    n_experts = model.config.n_experts
    outs = mean(every.metric).isel(layer=0).sel(action=[f"out {e}" for e in range(1, n_experts)])
    assert float(some) == pytest.approx(float(outs.mean()), abs=0.1 * float(abs(outs).max()))


def test_loss_and_load_by_domain():
    model = reading_the_corpus(segment_length=32, n_layers=2, n_experts=2)
    found = [
        expert_knockout(model, repeats(model), layer=1, expert=e, rows=2, n_random=1)
        for e in (0, 1)
    ]
    assert found[0].loss.dims == ("estimate", "scored", "domain") and found[0].n_texts == 12
    np.testing.assert_allclose(mean(found[0].load) + mean(found[1].load), 1, atol=1e-6)
    figure = expert_knockout_figure(found[0])
    assert len(figure.panels) == 4 and "merged" in figure.caption
    np.testing.assert_allclose(
        figure.panels[1].series[0].values, mean(found[0].loss).sel(scored=ANSWERS)
    )


def test_no_hook_stays():
    model = with_experts("deepseek-v2")
    task = repeats(model)
    with torch.no_grad():
        before = model(task.clean)
        expert_knockout(model, task, on="task")
        assert torch.equal(model(task.clean), before)


def test_refusals():
    model = with_experts()
    for wrong, said in (
        ({"n_random": 0}, "n_random=0"),
        ({"layer": 99}, "layer=99 has no experts"),
        ({"expert": 99}, "expert=99"),
        ({"expert": -1}, "expert=-1"),
    ):
        with pytest.raises(TaskError, match=said):
            expert_knockout(model, repeats(model), **{"on": "task", **wrong})
    with pytest.raises(UnsupportedHookError, match="has no experts"):
        expert_knockout(GPT2_SPEC.build(GPT2_SPEC.presets["tiny"]), repeats(model), on="task")
