"""Circuit search on a model whose circuit was planted, and its numbers by hand."""

import numpy as np
import pytest
import torch

from mechbench.analyses.circuit_search import circuit_search
from mechbench.analyses.common.behaviour import attention_features, head_features, head_roles
from mechbench.analyses.common.direct import direct_effects
from mechbench.analyses.common.steps import Steps
from mechbench.errors import TaskError


def test_finds_the_planted_heads_and_their_roles(planted, make_task):
    task = make_task(n=16)
    result = circuit_search(planted, task, n_random=30)
    assert set(result.heads) == {"1.1", "2.0"} and result.reached
    assert set(result.roles.values()) == {"letter mover"}
    assert list(result.growth.step.values) == ["nothing", "1.1", "2.0"]  # the best head first
    np.testing.assert_allclose(result.faithfulness.sel(estimate="mean"), 1, atol=0.1)
    np.testing.assert_allclose(result.completeness.sel(estimate="mean"), 0, atol=0.1)
    lost = result.minimality.sel(estimate="mean")
    assert (lost.sel(removed="2.0", answer="letter 3") > 0.8).all()
    assert (lost.sel(removed="1.1", answer=["letter 1", "letter 2"]) > 0.8).all()
    assert (abs(lost.sel(removed="1.1", answer="letter 3")) < 0.1).all()
    assert (result.n_search, result.n_test) == (8, 8)
    # no other pair of heads does it; the planted pair itself is 1 of 15
    assert (result.random_faithfulness.sel(answer="all letters") > 0.9).mean() < 0.3
    assert (result.p_value > 0).all() and (result.p_value.sel(answer="all letters") < 0.3).all()


def test_roles_of_all_heads(planted, make_task):
    features = head_features(
        planted, make_task(n=8), seed=0, method="resample", steps=Steps(0, None, None)
    )
    roles = head_roles(features, [(0, 0), (0, 1), (1, 1), (2, 0)])
    assert roles == {
        "0.0": "previous token",
        "0.1": "other",
        "1.1": "letter mover",
        "2.0": "letter mover",
    }


def test_parts_are_what_they_say(planted, make_task):
    task, other = make_task(n=6), make_task(n=5, seed=8)
    result = circuit_search(planted, task, held_out=other, n_random=2, seed=1)
    model, metric = planted.double(), other.metric()
    _, corrupt = model.run_with_cache(other.pairs("all", seed=1).corrupt)
    circuit = [tuple(map(int, h.split("."))) for h in result.heads]

    def ld(ablated):
        def write(z, hook):
            for head in range(2):
                if (hook.layer(), head) in ablated:
                    z[:, :, head] = corrupt[hook.name][:, :, head].mean(0)
            return z

        hooks = [(lambda name: name.endswith("hook_z"), write)]
        logits = model.run_with_hooks(other.clean, fwd_hooks=hooks)
        logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        return metric(logits[..., metric.vocab]).detach().numpy()

    every = [(layer, head) for layer in range(3) for head in range(2)]
    expected = {
        "full": ld([]),
        "nothing": ld(every),
        "circuit": ld([h for h in every if h not in circuit]),
        "rest": ld(circuit),
    }
    for part, values in expected.items():
        np.testing.assert_allclose(result.logit_diff.sel(part=part)[:, :3], values, atol=2e-5)
    means = {part: values.mean(0) for part, values in expected.items()}
    gap = means["full"] - means["nothing"]
    faithfulness = result.faithfulness.sel(estimate="mean")[:3]
    np.testing.assert_allclose(faithfulness, (means["circuit"] - means["nothing"]) / gap, rtol=1e-4)
    everything = [v.mean() for v in expected.values()]
    np.testing.assert_allclose(
        result.faithfulness.sel(estimate="mean", answer="all letters"),
        (everything[2] - everything[1]) / (everything[0] - everything[1]),
        rtol=1e-4,
    )
    assert result.n_test == 5 and "another seed" in result.split


def test_direct_effects_of_one_head_by_hand(model, task):
    found = direct_effects(model, task)
    model = model.double()
    _, cache = model.run_with_cache(task.clean)
    for layer, head, prompt, answer in [(0, 1, 2, 0), (2, 3, 4, 2)]:
        position = 8 + answer
        out = cache["z", layer][prompt, position, head] @ model.W_O[layer, head]
        out = (out - out.mean()) / cache["ln_final.hook_scale"][prompt, position]
        logits = ((out * model.ln_final.w) @ model.W_U)[task.capitals]
        index = task.letters[prompt, answer]
        expected = logits[index] - (logits.sum() - logits[index]) / 25
        np.testing.assert_allclose(
            found.isel(layer=layer, head=head, prompt=prompt, answer=answer),
            expected.item(),
            atol=2e-6,
        )


def test_attention_features_by_hand(model, task):
    found = attention_features(model, task)
    _, cache = model.run_with_cache(task.clean)
    pattern = cache["pattern", 1][:, 2].mean(0).detach().numpy()
    word = [pattern[8, 1:4].sum(), pattern[9, 3:6].sum(), pattern[10, 5:8].sum()]
    earlier = [pattern[9, [3, 8]].sum(), pattern[10, [3, 5, 8, 9]].sum()]
    before = [pattern[p, p - 1] for p in range(2, 11)]
    for values, expected in zip(found.values(), (word, before, earlier), strict=True):
        np.testing.assert_allclose(values[1, 2], np.mean(expected), rtol=1e-5)


def test_a_model_that_does_not_know_the_task(make_model, make_task):
    model = make_model()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.W_O.zero_()
    with pytest.raises(TaskError, match="does the model know the task"):
        circuit_search(model, make_task(n=6))


def test_impossible_requests(model, task, make_task):
    with pytest.raises(TaskError, match="target_share=2"):
        circuit_search(model, task, target_share=2)
    with pytest.raises(TaskError, match="at least 4"):
        circuit_search(model, make_task(n=3))
