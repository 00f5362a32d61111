"""ACDC against a loop that computes every circuit anew, and the walk against whole forwards."""

import numpy as np
import pytest
import torch

from mechbench.discovery import removals
from mechbench.discovery.acdc import prune
from mechbench.discovery.circuit_forward import CircuitForward, split_inputs
from mechbench.discovery.divergence import negative_divergence
from mechbench.discovery.removals import FullRemovals, RestartedRemovals, live_writers
from mechbench.errors import CircuitError, StoreError
from mechbench.graphs.topology import LOGITS
from mechbench.graphs.wiring import wire
from tests.interventions.conftest import random_metric, random_pairs


def naive(model, pairs, metric, threshold, absolute):
    """Algorithm 1 of Conmy et al. 2023, one whole forward per edge and none left out."""
    wiring = wire(model)
    graph = wiring.graph
    forward = CircuitForward(model, wiring, pairs, metric)
    mask = graph.exists.copy()
    current = forward(mask)
    changes = {}
    for reader in reversed(range(len(graph.readers))):
        for writer in reversed(range(len(graph.writers))):
            if not graph.exists[writer, reader]:
                continue
            mask[writer, reader] = False
            value = forward(mask)
            fall = float((current - value).mean())
            changes[writer, reader] = fall
            if (abs(fall) if absolute else fall) <= threshold + 1e-12:
                current = value
            else:
                mask[writer, reader] = True
    return mask, changes


@pytest.mark.parametrize("threshold", [0.01, 0.1])
@pytest.mark.parametrize("compare", ["metric", "kl"])
def test_equals_a_loop_that_computes_everything(gpt2, threshold, compare):
    pairs = random_pairs(n_prompts=2, length=6, seed=1)
    metric = random_metric(pairs) if compare == "metric" else negative_divergence(gpt2, pairs)
    absolute = compare == "metric"
    wiring = wire(gpt2)
    found = prune(gpt2, pairs, metric, wiring, threshold=threshold, absolute=absolute)
    mask, changes = naive(gpt2, pairs, metric, threshold, absolute)
    np.testing.assert_array_equal(found.mask, mask)
    assert 0 < mask.sum() < wiring.graph.n_edges
    expected = [changes[edge] for edge in zip(*wiring.graph.edge_indices, strict=True)]
    np.testing.assert_allclose(found.changes.mean(0), expected, atol=1e-9)
    assert 0 < found.n_tests <= wiring.graph.n_edges


def test_extreme_thresholds(gpt2):
    pairs, wiring = random_pairs(n_prompts=2, length=6, seed=2), wire(gpt2)
    metric = random_metric(pairs)
    none = prune(gpt2, pairs, metric, wiring, threshold=1e6, absolute=True)
    assert not none.mask.any()
    assert none.n_tests == wiring.graph.exists[:, -1].sum()  # then nothing has a path any more
    every = prune(gpt2, pairs, metric, wiring, threshold=0.0, absolute=True)
    changed = np.abs(wiring.graph.values(every.mask) * 1.0) > 0
    np.testing.assert_array_equal(changed, np.abs(every.changes.mean(0)) > 0)
    assert changed.mean() > 0.9


def some_circuit(graph, seed, keep=0.4):
    """A mask of which every edge into earlier readers than the one returned is intact."""
    rng = np.random.default_rng(seed)
    reader = int(rng.integers(1, len(graph.readers)))
    mask = graph.exists & (rng.random(graph.exists.shape) < keep)
    mask[:, :reader] = graph.exists[:, :reader]
    mask[:, reader] = graph.exists[:, reader] & (rng.random(len(graph.writers)) < 0.8)
    return mask, reader


@pytest.mark.parametrize("seed", range(12))
def test_restarted_removals_equal_whole_forwards(gpt2, seed):
    pairs, wiring = random_pairs(n_prompts=3, length=6, seed=seed), wire(gpt2)
    metric = random_metric(pairs)
    mask, reader = some_circuit(wiring.graph, seed)
    writers = np.nonzero(mask[:, reader])[0][::-1][:4].tolist()
    args = (mask, reader, writers)
    with split_inputs(gpt2):
        fast = RestartedRemovals(gpt2, wiring, pairs, metric).values(*args, first=0)
        later = RestartedRemovals(gpt2, wiring, pairs, metric).values(*args, first=1)
    slow = FullRemovals(gpt2, wiring, pairs, metric).values(*args, first=0)
    assert fast.shape == (len(writers) + 1, 3, 2)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-9)
    torch.testing.assert_close(later, fast[1:], rtol=0, atol=1e-10)


def test_several_at_once_decide_as_one_by_one(gpt2, monkeypatch):
    pairs, wiring = random_pairs(n_prompts=2, length=6, seed=3), wire(gpt2)
    metric = random_metric(pairs)
    many = prune(gpt2, pairs, metric, wiring, threshold=0.2, absolute=True)
    monkeypatch.setattr(removals, "_INPUT_BYTES", 1)
    few = prune(gpt2, pairs, metric, wiring, threshold=0.2, absolute=True)
    np.testing.assert_array_equal(many.mask, few.mask)
    np.testing.assert_allclose(many.changes, few.changes, atol=1e-10)
    assert many.n_tests == few.n_tests


def test_a_bridged_model_with_grouped_heads(shallow_llama):
    pairs = random_pairs(n_prompts=2, length=5, seed=4)
    metric = negative_divergence(shallow_llama, pairs)
    found = prune(shallow_llama, pairs, metric, wire(shallow_llama), threshold=0.02, absolute=False)
    mask, _ = naive(shallow_llama, pairs, metric, 0.02, False)
    np.testing.assert_array_equal(found.mask, mask)
    assert 0 < mask.sum() < mask.size


def test_goes_on_where_it_was_interrupted(gpt2, tmp_path):
    pairs, wiring = random_pairs(n_prompts=2, length=6, seed=5), wire(gpt2)
    metric = random_metric(pairs)
    whole = prune(gpt2, pairs, metric, wiring, threshold=0.2, absolute=True)
    file = tmp_path / "acdc.npz"

    def stop(done, of):
        assert of == wiring.graph.n_edges
        if done > of // 2:
            raise KeyboardInterrupt

    options = {"threshold": 0.2, "absolute": True, "checkpoint": file}
    with pytest.raises(KeyboardInterrupt):
        prune(gpt2, pairs, metric, wiring, progress=stop, **options)
    seen = []
    again = prune(
        gpt2, pairs, metric, wiring, progress=lambda done, of: seen.append(done), **options
    )
    assert seen[0] > wiring.graph.n_edges // 2 and seen[-1] == wiring.graph.n_edges
    np.testing.assert_array_equal(again.mask, whole.mask)
    np.testing.assert_allclose(again.changes, whole.changes, atol=1e-10)
    assert again.n_tests == whole.n_tests
    with pytest.raises(StoreError, match="other work"):
        prune(gpt2, pairs, metric, wiring, **{**options, "threshold": 0.3})


def test_writers_with_a_path_to_the_logits(gpt2):
    graph = wire(gpt2).graph
    mask = graph.mask(["m1->logits", "a0.h0->m1", "a0.h1->m0", "input->a0.h0<v>"])
    live = live_writers(graph, mask)
    assert [w.name for w, on in zip(graph.writers, live, strict=True) if on] == [
        "input", "a0.h0", "m1"
    ]  # fmt: skip
    assert graph.readers[-1].name == LOGITS


def test_the_divergence_is_torchs(gpt2):
    pairs = random_pairs(n_prompts=3, length=6, seed=6)
    metric = negative_divergence(gpt2, pairs)
    index = pairs.answer_positions[..., None]
    with torch.no_grad():
        logits = [torch.take_along_dim(gpt2(t), index, dim=1) for t in (pairs.clean, pairs.corrupt)]
    clean, corrupt = (x.log_softmax(-1) for x in logits)
    expected = torch.nn.functional.kl_div(corrupt, clean, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(metric(logits[1]), -expected)
    assert metric(logits[0]).abs().max() < 1e-12


def test_bad_arguments(gpt2):
    pairs = random_pairs(n_prompts=2, length=5)
    metric = random_metric(pairs)
    with pytest.raises(CircuitError, match="0 or above"):
        prune(gpt2, pairs, metric, wire(gpt2), threshold=-1.0, absolute=True)
    with pytest.raises(CircuitError, match="over all positions"):
        prune(gpt2, pairs, metric, wire(gpt2, n_positions=5), threshold=0.1, absolute=True)
