"""Planted circuits: they solve their tasks by exactly the edges that they claim."""

import pytest
import torch

from mechbench import load_model, sweep
from mechbench.errors import ModelNotFoundError, SpecError, TaskError
from mechbench.graphs.wiring import wire
from mechbench.planted.registry import PLANTED
from mechbench.resources import PLANTED as NAMES
from mechbench.tasks.registry import build_task
from tests.reference.edges import EdgeReference, edge_patched_metric

LARGE = 5.0  # logits: every true edge moves the metric by more
NOTHING = 1e-9  # every other edge by less, in float64


@pytest.fixture(scope="module", params=sorted(PLANTED))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def planted(name):
    """Few prompts, because every edge is patched by the slow reference."""
    return PLANTED[name](n=3, seed=5)


def test_the_model_solves_its_task(name):
    planted = PLANTED[name](n=64, seed=1)
    pairs, metric = planted.pairs, planted.metric
    for tokens, answers, sign in ((pairs.clean, pairs.answers, 1), (pairs.corrupt, None, -1)):
        with torch.no_grad():
            logits = planted.model.answer_logits(tokens, pairs.answer_positions)
        assert answers is None or torch.equal(logits.argmax(-1), answers)
        assert (sign * metric(logits[..., metric.vocab])).min() > 7


def test_single_edges_matter_where_claimed_and_nowhere_else(planted):
    reference, pairs, metric = EdgeReference(planted.model), planted.pairs, planted.metric
    other = reference.outputs(pairs.corrupt)
    rows = torch.arange(len(pairs))[:, None]

    def value(edges):
        logits = reference.logits(pairs.clean, edges, other)
        return metric(logits[rows, metric.positions][..., metric.vocab])

    base, names = value([]), reference.edges()
    effects = {edge: (value([edge]) - base).abs() for edge in names}
    assert {edge for edge, effect in effects.items() if effect.min() > LARGE} == planted.edges
    rest = max(float(effect.max()) for edge, effect in effects.items() if edge not in planted.edges)
    assert rest < NOTHING
    assert len(names) > 20 * len(planted.edges)


def test_the_circuit_is_enough_and_nothing_works_without_it(planted):
    every = set(EdgeReference(planted.model).edges())
    pairs, metric = planted.pairs, planted.metric
    clean, corrupt, circuit, rest = (
        edge_patched_metric(planted.model, pairs, metric, edges)
        for edges in ([], every, every - planted.edges, planted.edges)
    )
    torch.testing.assert_close(circuit, clean, rtol=0.01, atol=0)
    torch.testing.assert_close(rest, corrupt, rtol=0.01, atol=0)
    back = edge_patched_metric(planted.model, pairs, metric, planted.edges, "denoise")
    torch.testing.assert_close(back, clean, rtol=0.01, atol=0)


def test_fixed_edges_are_needed_though_no_patch_shows_it(planted):
    reference, pairs, metric = EdgeReference(planted.model), planted.pairs, planted.metric
    silent = {w: torch.zeros_like(x) for w, x in reference.outputs(pairs.clean).items()}
    rows = torch.arange(len(pairs))[:, None]

    def value(edges):
        logits = reference.logits(pairs.clean, edges, silent)
        return metric(logits[rows, metric.positions][..., metric.vocab])

    base = value([])
    for edge in planted.fixed_edges:
        assert (base - value([edge])).mean() > 1, edge
    assert not planted.fixed_edges & planted.edges


def test_distractors_are_busy(planted):
    reference = EdgeReference(planted.model)
    clean, corrupt = (reference.outputs(t) for t in (planted.pairs.clean, planted.pairs.corrupt))

    def loudness(writer):
        return float(clean[writer].norm(dim=-1).mean())

    assert len(planted.distractors) > len(planted.nodes)
    heads = [loudness(node) for node in planted.nodes if node.startswith("a")]
    for writer in planted.distractors:
        assert loudness(writer) > 0.2 * sum(heads) / len(heads), writer
        change = float((clean[writer] - corrupt[writer]).norm(dim=-1).mean())
        assert change > 0.2 * loudness(writer), writer


def test_attention_is_sharp_and_leaves_a_gradient(planted):
    pairs = planted.pairs
    found = 0
    with torch.no_grad():
        _, cache = planted.model.run_with_cache(pairs.clean)
    for node in planted.nodes:
        if node.startswith("a"):
            layer, head = (int(part) for part in node[1:].split(".h"))
            pattern = cache["pattern", layer][:, head, 2:].max(-1).values
            found += 1
            assert 0.9 < pattern.max() < 0.999, node
    assert found


def test_the_engine_sees_the_same_heads(planted):
    swept = sweep(
        planted.model, planted.pairs, planted.metric, site="z", axes=["layer", "head"]
    ).effect
    effect = abs(swept).max(["prompt", "answer"])
    for layer in range(planted.model.cfg.n_layers):
        for head in range(planted.model.cfg.n_heads):
            found = float(effect.sel(layer=layer, head=head))
            real = f"a{layer}.h{head}" in planted.nodes
            assert found > LARGE if real else found < 1e-4, (layer, head, found)


def test_edges_and_nodes_are_those_of_the_graph(planted):
    graph = wire(planted.model).graph
    assert graph.mask(planted.edges | planted.fixed_edges).any()
    assert planted.nodes | planted.distractors == set(graph.nodes) - {"input", "logits"}
    assert all(node in planted.why for node in planted.nodes)


def test_weights_show_nothing_and_are_exact(planted):
    """No coordinate belongs to a subspace; the same weights whatever the prompts."""
    assert (planted.model.W_E != 0).all()
    again = PLANTED[planted.name](n=1, seed=9).model.state_dict()
    for name, weight in planted.model.state_dict().items():
        assert torch.equal(weight, again[name]), name


def test_prompts_depend_on_the_seed(name):
    one, same, other = (PLANTED[name](n=4, seed=seed).pairs for seed in (0, 0, 1))
    assert torch.equal(one.clean, same.clean) and torch.equal(one.corrupt, same.corrupt)
    assert not torch.equal(one.clean, other.clean)
    assert one.source["prompts_sha256"] == same.source["prompts_sha256"]
    assert one.source["prompts_sha256"] != other.source["prompts_sha256"]
    assert one.source["seed"] == 0
    with pytest.raises(TaskError, match="n of at least 1"):
        PLANTED[name](n=0)
    with pytest.raises(TaskError, match="corruption='swapped' is not known"):
        PLANTED[name](n=1).task.pairs("swapped")


def test_model_and_task_by_name(name):
    model = load_model(name, dtype="float64")
    assert model.cfg.dtype == torch.float64
    assert (model.source.kind, model.source.name) == ("constructed", name)
    task = build_task(name, None, n=5, seed=3)
    assert (task.name, len(task)) == (name, 5)
    with torch.no_grad():
        logits = model(task.clean)
    rows = torch.arange(5)[:, None]
    pairs = task.pairs()
    assert torch.equal(logits[rows, pairs.answer_positions].argmax(-1), pairs.answers)


def test_names():
    assert set(NAMES) == set(PLANTED)
    with pytest.raises(ModelNotFoundError, match="Did you mean 'planted-induction'"):
        load_model("planted-inductoin")
    with pytest.raises(SpecError, match="no training snapshots"):
        load_model("planted-memory", snapshot=1)
    with pytest.raises(SpecError, match="cannot be folded or centred"):
        load_model("planted-memory", fold_ln=True)
