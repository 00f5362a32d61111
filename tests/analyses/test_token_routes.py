"""The decisions about both prompts of every pair against a plain loop over prompts with hooks."""

import numpy as np
import pytest
import torch

from mechbench.analyses.token_routes import token_routes
from mechbench.errors import MechbenchError, SpecError, TaskError, UnsupportedHookError
from mechbench.figures.token_routes import token_routes_figure
from mechbench.models.variants.gpt2 import SPEC as GPT2_SPEC
from mechbench.models.variants.mod import TINY, MoD
from mechbench.tasks.induction import induction
from tests.conformance.conftest import loud

LAYERS = TINY.routed_layers


@pytest.fixture(scope="module")
def model():
    return loud(MoD(TINY))


@pytest.fixture(scope="module")
def task():
    return induction(None, 5, half_length=5, vocab=101, bos=0)


@torch.no_grad()
def by_hand(model, row):
    """Decisions and weights ``[layer pos]`` of one prompt alone, kept by hooks."""
    kept = {}
    hooks = [
        (f"blocks.{layer}.mod.{point}", lambda x, hook: kept.update({hook.name: x[0].clone()}))
        for layer in LAYERS
        for point in ("hook_selected_mask", "hook_router_weights")
    ]
    model.run_with_hooks(row[None], fwd_hooks=hooks)
    return [
        np.stack([kept[f"blocks.{layer}.mod.{point}"].numpy() for layer in LAYERS])
        for point in ("hook_selected_mask", "hook_router_weights")
    ]


@pytest.mark.parametrize("mode", ["predictor", "aux_threshold", "topk", "random", "all"])
def test_decisions_weights_and_totals_are_those_of_single_prompts(model, task, mode):
    found = token_routes(model, task, mode=mode, threshold=0.3, capacity=0.5, seed=4)
    assert model.route_mode == "predictor" and model.routers[1].capacity == TINY.capacity
    pairs = task.pairs()
    model.set_route_mode(mode, seed=4, threshold=0.3)
    model.set_capacity(0.5)
    try:
        for run, tokens in (("clean", pairs.clean), ("corrupted", pairs.corrupt)):
            for prompt, row in enumerate(tokens):
                mask, weights = by_hand(model, row)
                at = {"run": run, "prompt": prompt}
                assert np.array_equal(found.through.sel(at), mask)
                np.testing.assert_allclose(found.weights.sel(at), weights, atol=1e-5)
                assert found.n_tokens.sel(at).values.tolist() == [sum(r) for r in mask.tolist()]
                columns = zip(*mask.tolist(), strict=True)
                assert found.n_blocks.sel(at).values.tolist() == [sum(c) for c in columns]
                assert [f"#{i}" for i in row.tolist()] == found.tokens.sel(at).values.tolist()
    finally:
        model.set_capacity(TINY.capacity)
        model.set_route_mode("predictor")
    assert found.mode == mode and found.capacity == 0.5


def test_agreement_is_counted_position_by_position(model, task):
    found = token_routes(model, task)
    clean, corrupted = (found.through.sel(run=run).values for run in ("clean", "corrupted"))
    for i in range(len(LAYERS)):
        pairs, others = [], []
        for p in range(5):
            pairs += (clean[p, i] == corrupted[p, i]).tolist()
            others += (clean[p, i] == clean[(p + 1) % 5, i]).tolist()
        assert float(found.agreement[0, i]) == pytest.approx(np.mean(pairs))
        assert float(found.agreement_other[0, i]) == pytest.approx(np.mean(others))
        assert float(found.share[0, 0, i]) == pytest.approx(clean[:, i].mean())
    metric = task.metric()
    for run, tokens in (("clean", task.pairs().clean), ("corrupted", task.pairs().corrupt)):
        values = metric(model.answer_logits(tokens, metric.positions, metric.vocab)).mean(-1)
        np.testing.assert_allclose(found.metric.sel(run=run), values.detach(), atol=1e-5)


def test_the_figure_outlines_what_differs(model, task):
    found = token_routes(model, task, mode="topk", capacity=0.5)
    figure = token_routes_figure(found, prompt=1, other=3, other_run="clean")
    first, second = figure.panels[:2]
    assert (first.title, second.title) == ("clean prompt 1", "clean prompt 3")
    differs = np.argwhere(first.values != second.values)
    assert first.values.shape == (11, 2) and first.cell_text[0] == ("#0", "#0")
    assert len(differs) and list(first.marked) == list(map(tuple, differs.tolist()))
    with pytest.raises(MechbenchError, match="no clean prompt 9"):
        token_routes_figure(found, prompt=9)


def test_refusals(model, task):
    with pytest.raises(TaskError, match="route_mode='best'"):
        token_routes(model, task, mode="best")
    with pytest.raises(SpecError, match="capacity = 2"):
        token_routes(model, task, capacity=2.0)
    with pytest.raises(UnsupportedHookError, match="no blocks that tokens may go past"):
        token_routes(GPT2_SPEC.build(GPT2_SPEC.presets["tiny"]), task)
    assert model.route_mode == "predictor" and model.routers[1].capacity == TINY.capacity
