"""The routing map against a plain run with hooks, and against numbers counted by hand."""

import numpy as np
import pytest
import torch

from mechbench.analyses.common.prompt_classes import NEW, PRE_ANSWER, REPEATED, prompt_classes
from mechbench.analyses.router_map import router_map
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.router_map import router_map_figure
from mechbench.figures.spec import Histogram
from mechbench.models.variants.mod import TINY, MoD
from mechbench.results.router_map import PAST, THROUGH
from mechbench.tasks.induction import induction
from tests.conformance.conftest import loud


@pytest.fixture(scope="module")
def model():
    return loud(MoD(TINY))


@pytest.fixture(scope="module")
def task():
    return induction(None, 6, half_length=5, vocab=101, bos=0)


@pytest.fixture(scope="module")
def result(model, task):
    return router_map(model, task, n_random=2)


@pytest.fixture(scope="module")
def cache(model, task):
    with torch.no_grad():
        return model.run_with_cache(task.clean)[1]


def mask_of(cache):
    return torch.stack([cache[f"blocks.{i}.mod.hook_selected_mask"] for i in (1, 3)], 1).numpy()


def test_decisions_and_scores_are_those_of_the_hook_points(result, cache):
    assert result.mode == "predictor" and result.capacity == TINY.capacity
    assert np.array_equal(result.through.values, mask_of(cache))
    for i, layer in enumerate((1, 3)):
        weights = cache[f"blocks.{layer}.mod.hook_router_weights"]
        np.testing.assert_allclose(result.scores[:, i], weights, atol=1e-5)
        share = float(result.share.sel(estimate="mean", layer=layer))
        assert share == pytest.approx(mask_of(cache)[:, i].mean())
    counted = result.histogram.sum("score").transpose("layer", "route").values
    n_through = mask_of(cache).sum((0, 2))
    assert counted.tolist() == [[n, 66 - n] for n in n_through.tolist()]


def test_classes_and_surprise_are_means_over_their_tokens(model, task, result, cache):
    mask, pairs = mask_of(cache), task.pairs()
    classes = prompt_classes(model, pairs)
    assert classes[REPEATED][:, 6:].all() and not classes[REPEATED][:, :6].any()
    assert torch.equal(classes[NEW], ~classes[REPEATED])
    assert (classes[PRE_ANSWER].sum(1) == 4).all() and classes[PRE_ANSWER][:, 6:10].all()
    with torch.no_grad():
        logits = model(task.clean)
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), task.clean[:, 1:].flatten(), reduction="none"
    ).view(6, 10)
    for i, layer in enumerate((1, 3)):
        found = result.by_class.sel(estimate="mean", layer=layer)
        for name, kept in classes.items():
            assert float(found.sel({"class": name})) == pytest.approx(
                mask[:, i][kept.numpy()].mean()
            )
            assert int(result.class_size.sel({"class": name})) == int(kept.sum())
        through = torch.from_numpy(mask[:, i, :10])
        expected = {THROUGH: losses[through].mean(), PAST: losses[~through].mean()}
        for route, value in expected.items():
            surprise = result.surprise.sel(estimate="mean", layer=layer, route=route)
            assert float(surprise) == pytest.approx(float(value), abs=1e-5)
        gap = float(result.surprise_gap.sel(estimate="mean", layer=layer))
        assert gap == pytest.approx(float(expected[THROUGH] - expected[PAST]), abs=1e-5)
    assert not result.surprise_gap.equals(result.surprise_gap_control)


def test_agreement_is_counted_in_the_run_that_ranks(model, task, result):
    model.set_route_mode("topk")
    try:
        with torch.no_grad():
            cache = model.run_with_cache(task.clean)[1]
            for layer in (1, 3):
                guessed = model.routers[layer].predictor(cache["resid_pre", layer]) > 0
                same = guessed == cache[f"blocks.{layer}.mod.hook_selected_mask"]
                found = float(result.agreement.sel(estimate="mean", layer=layer))
                assert found == pytest.approx(float(same.double().mean()))
                p, q = float(guessed.double().mean()), 4 / 11
                chance = float(result.agreement_chance.sel(layer=layer))
                assert chance == pytest.approx(p * q + (1 - p) * (1 - q))
            loss = float(model(task.clean, return_type="loss"))
    finally:
        model.set_route_mode("predictor")
    assert float(result.loss.sel(estimate="mean", mode="topk")) == pytest.approx(loss, abs=1e-5)
    assert list(result.loss["mode"].values) == ["predictor", "topk", "random"]


def test_looking_leaves_the_model_as_it_was(task):
    model = loud(MoD(TINY))
    model.set_route_mode("aux_threshold", threshold=0.3)
    before = model(task.clean)
    assert router_map(model, task, n_random=1).mode == "aux_threshold"
    assert model.route_mode == "aux_threshold" and torch.equal(model(task.clean), before)


def test_the_figure_shows_the_map_of_a_prompt(result, cache):
    spec = router_map_figure(result, prompt=2)
    np.testing.assert_array_equal(spec.panels[0].values, mask_of(cache)[2])
    assert spec.panels[0].rows == ("1", "3")
    histograms = [panel for panel in spec.panels if isinstance(panel, Histogram)]
    assert len(histograms) == 2
    np.testing.assert_array_equal(
        histograms[1].series[0].values, result.histogram.sel(layer=3, route=THROUGH)
    )


def test_what_it_cannot_look_at(task, model):
    dense = MoD(TINY.__class__(**{**TINY.__dict__, "routed_layers": ()}))
    with pytest.raises(UnsupportedHookError, match="architectures: mod"):
        router_map(dense, task)
    with pytest.raises(TaskError, match="n_bins=0"):
        router_map(model, task, n_bins=0)
