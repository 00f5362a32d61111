"""One forced decision against single runs with a hook written by hand."""

import numpy as np
import pytest
import torch

from mechbench.analyses.forced_route import _elsewhere, forced_route
from mechbench.analyses.router_interventions import router_interventions
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.forced_route import forced_route_figure
from mechbench.models.variants.gpt2 import SPEC as GPT2_SPEC
from mechbench.models.variants.mod import TINY, MoD
from mechbench.results.forced_route import LOSS, METRIC
from mechbench.tasks.induction import induction
from tests.analyses.test_router_interventions import measured
from tests.conformance.conftest import loud


@pytest.fixture(scope="module")
def model():
    return loud(MoD(TINY))


@pytest.fixture(scope="module")
def task():
    return induction(None, 5, half_length=5, vocab=101, bos=0)


def writing(layer, position, decide):
    def write(mask, hook):
        mask = mask.clone()
        mask[:, position] = decide(mask[:, position])
        return mask

    return f"blocks.{layer}.mod.hook_selected_mask", write


def keeping(kept):
    return lambda mask, hook: kept.update(mask=mask[2].clone())


DECIDE = {
    "other": lambda old: ~old,
    "through": lambda old: torch.ones_like(old),
    "past": lambda old: torch.zeros_like(old),
}


@pytest.mark.parametrize("to", DECIDE)
@pytest.mark.parametrize("mode", ["predictor", "aux_threshold"])
def test_forcing_is_a_run_with_the_decision_written_by_hand(model, task, to, mode):
    largest, partly = 0.0, 0
    for layer, position in ((1, 2), (1, 7), (3, 5)):
        found = forced_route(model, task, layer=layer, position=position, to=to, mode=mode)
        model.set_route_mode(mode)
        try:
            base = measured(model, task)
            there = measured(model, task, [writing(layer, position, DECIDE[to])])
        finally:
            model.set_route_mode("predictor")
        before = torch.from_numpy(found.through.values)
        turned = DECIDE[to](before) != before
        assert found.n_changed == int(turned.sum())
        partly += 0 < int(turned.sum()) < 5
        for measure in (LOSS, METRIC):
            expected = (there[measure] - base[measure]).masked_fill(~turned, float("nan"))
            np.testing.assert_allclose(found.change.sel(measure=measure), expected, atol=1e-5)
            values = found.values.sel(measure=measure)
            np.testing.assert_allclose(values.sel(state="own"), base[measure], atol=1e-5)
            np.testing.assert_allclose(values.sel(state="forced"), there[measure], atol=1e-5)
            if turned.any():
                mean = float(found.summary.sel(measure=measure, estimate="mean"))
                assert mean == pytest.approx(float(expected.nanmean()), abs=1e-5)
                largest = max(largest, float(expected.nan_to_num().abs().max()))
    assert largest > 0.05 and (to == "other" or partly)


def test_the_change_is_that_of_turning_every_decision(model, task):
    every = router_interventions(model, task, capacities=[0.5], n_random=1)
    for position in (1, 6):
        found = forced_route(model, task, layer=3, position=position)
        there = every.change.sel(layer=3).isel(position=position)
        np.testing.assert_allclose(found.change, there, atol=1e-5)


def test_the_control_turns_positions_that_were_decided_alike(model, task):
    """With many draws it is the mean over all such positions, each turned by hand."""
    layer, position = 1, 4
    found = forced_route(model, task, layer=layer, position=position, n_random=400)
    with torch.no_grad():
        name = f"blocks.{layer}.mod.hook_selected_mask"
        before = model.run_with_cache(task.clean)[1][name]
    base = measured(model, task)[METRIC]
    per_prompt = [[] for _ in range(5)]
    for other in range(before.shape[1]):
        there = measured(model, task, [writing(layer, other, DECIDE["other"])])[METRIC] - base
        for prompt in range(5):
            if other != position and before[prompt, other] == before[prompt, position]:
                per_prompt[prompt].append(float(there[prompt]))
    means = [np.mean(values) for values in per_prompt if values]
    assert found.n_compared == len(means)
    spread = max(np.ptp(values) for values in per_prompt if values)
    got = float(found.random.sel(measure=METRIC, estimate="mean"))
    assert spread > 0.05 and got == pytest.approx(np.mean(means), abs=0.1 * spread)


def test_each_draw_turns_one_other_position_that_was_decided_alike():
    draw = torch.Generator().manual_seed(0)
    before = torch.rand(6, 5, generator=draw) < 0.5
    before[5] = torch.tensor([True, True, False, True, True])  # position 2 is like no other
    masks, possible = _elsewhere(before, 2, 50, seed=0)
    seen = [set() for _ in range(6)]
    for mask in masks:
        for prompt, (old, new) in enumerate(zip(before.tolist(), mask.tolist(), strict=True)):
            seen[prompt] |= {p for p in range(5) if old[p] != new[p]}
            assert sum(o != n for o, n in zip(old, new, strict=True)) == bool(possible[prompt])
    for prompt, old in enumerate(before.tolist()):
        alike = {p for p in range(5) if p != 2 and old[p] == old[2]}
        assert seen[prompt] == alike and bool(possible[prompt]) == bool(alike)
    assert not possible[5] and possible.any()


@torch.no_grad()
def test_corrupted_prompts_and_what_is_kept_of_one(model, task):
    found = forced_route(model, task, layer=1, position=3, run="corrupted", prompt=2, n_tokens=3)
    tokens = task.pairs().corrupt
    hook = writing(1, 3, DECIDE["other"])
    at = int(task.metric().positions[2, 0])
    for state, hooks in (("own", []), ("forced", [hook])):
        kept = {}
        keep = ("blocks.3.mod.hook_selected_mask", keeping(kept))
        logits = model.run_with_hooks(tokens, fwd_hooks=[*hooks, keep])
        ids = logits[2, at].topk(3).indices.tolist()
        assert found.top_token.sel(state=state).values.tolist() == [f"#{i}" for i in ids]
        probs = logits[2, at].softmax(-1)[ids]
        np.testing.assert_allclose(found.top_prob.sel(state=state), probs, atol=1e-5)
        assert found.routes.sel(state=state, layer=3).values.tolist() == kept["mask"].tolist()
    routes = found.routes.sel(layer=1)
    assert (routes.sel(state="own") != routes.sel(state="forced")).values.nonzero()[0].tolist() == [
        3
    ]
    assert found.rerouted["layer"].values.tolist() == [3]


def test_nothing_to_change_is_said_and_not_counted(model, task):
    found = forced_route(model, task, layer=1, position=2, to="through", mode="all")
    assert found.n_changed == 0 and bool(found.summary.isnull().all())
    assert "nothing (there are no such prompts)" in forced_route_figure(found).caption


def test_no_hook_and_no_setting_stays(model, task):
    with torch.no_grad():
        before = model(task.clean)
        forced_route(model, task, mode="topk", capacity=0.9)
        assert torch.equal(model(task.clean), before)
    assert model.route_mode == "predictor" and model.routers[1].capacity == TINY.capacity


def test_refusals(model, task):
    for wrong, said in (
        ({"layer": 0}, "layer=0 is no routed block"),
        ({"position": 99}, "position=99"),
        ({"prompt": -1}, "prompt=-1"),
        ({"n_random": 0}, "n_random=0"),
        ({"mode": "best"}, "route_mode='best'"),
    ):
        with pytest.raises(TaskError, match=said):
            forced_route(model, task, **wrong)
    with pytest.raises(UnsupportedHookError, match="no blocks that tokens may go past"):
        forced_route(GPT2_SPEC.build(GPT2_SPEC.presets["tiny"]), task)
