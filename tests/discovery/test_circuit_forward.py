"""A circuit's forward pass equals hooked runs in which the same edges are cut by hand."""

import numpy as np
import pytest
import torch

from mechbench.discovery.circuit_forward import CircuitForward, split_inputs
from mechbench.errors import CircuitError
from mechbench.graphs.wiring import wire
from mechbench.interventions.sources import Mean, Resample, Zero
from mechbench.models.loading import load_model
from mechbench.models.variants.gpt2 import GPT2, TINY
from mechbench.tasks.metrics import logit_difference
from mechbench.tasks.pairs import PromptPairs
from tests.models.test_bridge import write

N, LENGTH = 5, 7


def task(n_vocab):
    clean, corrupt = torch.randint(3, n_vocab, (2, N, LENGTH))
    clean[:, 0] = corrupt[:, 0] = 1
    pairs = PromptPairs(
        name="random",
        clean=clean,
        corrupt=corrupt,
        answer_positions=torch.tensor([[LENGTH - 1, LENGTH - 3]]).expand(N, -1),
        answers=torch.tensor([[10, 11]]).expand(N, -1),
        position_labels=tuple(map(str, range(LENGTH))),
        answer_labels=("first", "second"),
    )
    return pairs, logit_difference(pairs, torch.full((N, 2, 1), 20))


@torch.inference_mode()
def metric_of(model, tokens, metric, hooks=()):
    with model.hooks(list(hooks)):
        return metric(model.answer_logits(tokens, metric.positions, metric.vocab))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    model = GPT2(TINY, "tiny").double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


@pytest.fixture(scope="module", params=["GPTNeoX", "Qwen2", "Mixtral"])
def bridged(request, tmp_path_factory):
    """Parallel blocks, grouped keys and values, and experts."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    write(request.param, folder)
    return load_model(folder, device="cpu")


def check_both_ends(model, pairs, metric, tolerance):
    circuit = CircuitForward(model, wire(model), pairs, metric, batch_size=2)
    clean, corrupt = (metric_of(model, t, metric) for t in (pairs.clean, pairs.corrupt))
    assert (clean - corrupt).abs().min() > 100 * tolerance
    assert (circuit.clean - clean).abs().max() < tolerance
    assert (circuit(wire(model).graph.exists) - clean).abs().max() < tolerance
    assert (circuit.ablated - corrupt).abs().max() < tolerance


def test_all_edges_are_the_clean_run_and_none_the_corrupted(tiny):
    check_both_ends(tiny, *task(101), 1e-12)


def test_so_it_is_on_bridged_models(bridged):
    check_both_ends(bridged, *task(60), 3e-6)
    assert not (bridged.cfg.use_split_qkv_input or bridged.cfg.use_hook_mlp_in)


@torch.inference_mode()
def by_hand(model, wiring, pairs, metric, mask):
    """The same edges cut with one hook per reader, which looks every writer up by itself."""
    graph = wiring.graph
    writers = [w.name for w in graph.writers]
    _, corrupt = model.run_with_cache(pairs.corrupt)
    current, hooks = {}, []

    def output(cache, writer):
        layer = writer.strip("am").partition(".")[0]
        if writer == "input":
            return cache["blocks.0.hook_resid_pre"]
        if writer[0] == "m":
            return cache[f"blocks.{layer}.hook_mlp_out"]
        head = int(writer.partition(".h")[2])
        return (
            cache[f"blocks.{layer}.attn.hook_z"][:, :, head]
            @ model.blocks[int(layer)].attn.W_O[head]
        )

    def keep(value, hook):
        current[hook.name] = value

    def change(stream, reader):
        for i in np.nonzero(graph.exists[..., :, reader])[0]:
            gone = output(corrupt, writers[i]) - output(current, writers[i])
            stream = stream + gone * ~mask[i, reader]
        return stream

    def set_heads(value, hook, first):
        heads = [change(value[:, :, h], first + h) for h in range(value.shape[2])]
        return torch.stack(heads, dim=2)

    for bank in wiring.writers:
        hooks.append((bank.hook_name, keep))
    for bank in wiring.readers:
        first = bank.readers.start
        if bank.weight is None:
            hooks.append((bank.input, lambda v, hook, first=first: change(v, first)))
        else:
            hooks.append((bank.input, lambda v, hook, first=first: set_heads(v, hook, first)))
    with split_inputs(model):
        return metric_of(model, pairs.clean, metric, hooks)


@pytest.mark.parametrize("share", [0.03, 0.3, 0.9])
def test_any_edge_set_equals_cutting_by_hand(tiny, share):
    pairs, metric = task(101)
    wiring = wire(tiny)
    mask = wiring.graph.exists & (
        np.random.default_rng(0).random(wiring.graph.exists.shape) < share
    )
    found = CircuitForward(tiny, wiring, pairs, metric, batch_size=3)(mask)
    expected = by_hand(tiny, wiring, pairs, metric, mask)
    assert (found - expected).abs().max() < 1e-12
    assert (found - metric_of(tiny, pairs.clean, metric)).abs().max() > 1e-3


def test_edges_of_bridged_models_are_cut_by_group(bridged):
    pairs, metric = task(60)
    wiring = wire(bridged)
    mask = wiring.graph.exists & (np.random.default_rng(0).random(wiring.graph.exists.shape) < 0.4)
    found = CircuitForward(bridged, wiring, pairs, metric)(mask)
    expected = by_hand(bridged, wiring, pairs, metric, mask)
    assert (found - expected).abs().max() < 3e-6


def test_edges_by_position(tiny):
    pairs, metric = task(101)
    plain, by_position = wire(tiny), wire(tiny, n_positions=LENGTH)
    rng = np.random.default_rng(0)
    mask = plain.graph.exists & (rng.random(plain.graph.exists.shape) < 0.4)
    everywhere = np.broadcast_to(mask, by_position.graph.exists.shape)
    at_positions = CircuitForward(tiny, by_position, pairs, metric)
    expected = CircuitForward(tiny, plain, pairs, metric)(mask)
    assert (at_positions(everywhere) - expected).abs().max() < 1e-12
    # Positions after the last answer do not matter; the first answer's own position does.
    cut = by_position.graph.exists.copy()
    cut[LENGTH - 1] = False
    found = at_positions(cut)
    assert (found[:, 1] - at_positions.clean[:, 1]).abs().max() < 1e-12
    assert (found[:, 0] - at_positions.clean[:, 0]).abs().min() > 1e-6


@pytest.mark.parametrize("source", [Zero(), Mean(), Mean("clean"), Resample(seed=3)])
def test_other_ablations(tiny, source):
    """With every writer ablated the model reads nothing but ablated outputs and biases."""
    pairs, metric = task(101)
    wiring = wire(tiny)
    _, given = tiny.run_with_cache(pairs.clean if source.run == "clean" else pairs.corrupt)
    hooks = [
        (bank.hook_name, lambda v, hook: source.value(hook.name, v, given))
        for bank in wiring.writers
    ]
    expected = metric_of(tiny, pairs.clean, metric, hooks)
    circuit = CircuitForward(tiny, wiring, pairs, metric, source=source, batch_size=2)
    assert (circuit.ablated - expected).abs().max() < 1e-12
    assert (circuit(wiring.graph.exists) - circuit.clean).abs().max() < 1e-12


def test_a_mask_of_another_graph_is_refused(tiny):
    pairs, metric = task(101)
    circuit = CircuitForward(tiny, wire(tiny), pairs, metric)
    with pytest.raises(CircuitError, match=r"\(2, 3\)"):
        circuit(np.ones((2, 3), dtype=bool))
