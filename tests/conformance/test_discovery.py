"""The circuit graph, attribution and edge sets hold on every variant."""

import numpy as np
import pytest
import torch

from mechbench.bench.matrix_form import matrix_form_scores
from mechbench.discovery.attribution import attribute_edges
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.discovery.edge_patches import patch_edges
from mechbench.graphs.wiring import wire
from mechbench.models.registry import VARIANTS
from mechbench.tasks.metrics import logit_difference
from mechbench.tasks.pairs import PromptPairs

TINY = [
    pytest.param(spec, config, id=f"{spec.name}-{name}")
    for spec in VARIANTS
    for name, config in spec.presets.items()
    if name.startswith("tiny")
]


@pytest.mark.parametrize(("spec", "config"), TINY)
def test_edges_are_scored_patched_and_cut_alike(spec, config):
    torch.manual_seed(0)
    model = spec.build(config, "tiny").double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    n, length = 3, 6
    clean, corrupt = torch.randint(0, config.d_vocab, (2, n, length))
    pairs = PromptPairs(
        name="random",
        clean=clean,
        corrupt=corrupt,
        answer_positions=torch.full((n, 1), length - 1),
        answers=torch.full((n, 1), 1),
        position_labels=tuple(map(str, range(length))),
        answer_labels=("answer",),
    )
    metric = logit_difference(pairs, torch.full((n, 1, 1), 2))
    wiring = wire(model)
    graph = wiring.graph
    circuit = CircuitForward(model, wiring, pairs, metric, batch_size=2)
    with torch.inference_mode():
        run = [
            metric(model.answer_logits(tokens, metric.positions, metric.vocab))
            for tokens in (pairs.clean, pairs.corrupt)
        ]
    assert (circuit(graph.exists) - run[0]).abs().max() < 1e-9
    assert (circuit.ablated - run[1]).abs().max() < 1e-9

    found = attribute_edges(model, pairs, metric, method="eap").scores.mean(0)
    assert (found - matrix_form_scores(model, pairs, metric)).abs().max() < 1e-9

    for edge in np.random.default_rng(0).choice(graph.edge_names, 5, replace=False):
        patched = patch_edges(model, pairs, metric, wiring, edges=[str(edge)])
        cut = circuit(graph.exists & ~graph.mask([str(edge)])).mean(-1)
        expected = run[0].mean(-1) - cut
        assert (patched[:, 0] - expected).abs().max() < 1e-9
