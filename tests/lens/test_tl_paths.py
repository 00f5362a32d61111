"""Edges: direct path patching, edge attribution and faithfulness, each against the equations."""

import itertools

import pytest
import torch
from transformer_lens import patching
from transformer_lens.tools.analysis import (
    EdgeAttributionConfig,
    FaithfulnessConfig,
    attribution_patch,
    faithfulness,
)
from transformer_lens.tools.analysis.attribution_patching import (
    cache_activation_and_gradient,
    enumerate_edges,
    enumerate_nodes,
)

FLAGS = ["use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in"]


def flags(model):
    return [getattr(model.cfg, flag) for flag in FLAGS]


def writer_name(node):
    if node.kind == "embed":
        return "hook_embed"
    part = "attn.hook_result" if node.kind == "attn_head_out" else "hook_mlp_out"
    return f"blocks.{node.layer}.{part}"


def at(node):
    """Where in its tensor a node is, for the first prompt."""
    where = (0, node.position) if node.head is None else (0, node.position, node.head)
    return where


def adding(reader, delta):
    """The edit that adds ``delta`` to one reader's own copy of the residual stream."""

    def edit(name, value):
        if name != reader.hook_name:
            return value
        value = value.clone()
        value[at(reader)] += delta
        return value

    return edit


def plain_edge(case, diff, src, component, dst):
    """The metric with one head's clean write moved into one later head's input alone."""
    (src_layer, src_head), (dst_layer, dst_head) = src, dst
    result = f"blocks.{src_layer}.attn.hook_result"
    delta = (case.plain_clean[result] - case.plain_corrupt[result])[:, :, src_head]

    def edit(name, value):
        if name != f"blocks.{dst_layer}.attn.hook_{component}_input":
            return value
        value = value.clone()
        value[:, :, dst_head] += delta
        return value

    return diff(case.plain.run(case.corrupt, edit)).mean()


@pytest.mark.parametrize("component", ["q", "k", "v"])
def test_direct_paths_of_one_source(case, diff, component):
    before = flags(case.model)
    found = patching.get_act_patch_direct_path(
        case.model, case.corrupt, case.clean_cache, case.corrupt_cache,
        lambda logits: diff(logits).mean(), 0, 2, component, verbose=False,
    )  # fmt: skip
    assert flags(case.model) == before
    expected = [plain_edge(case, diff, (0, 2), component, (1, head)) for head in range(3)]
    torch.testing.assert_close(found[1].double(), torch.stack(expected), rtol=0, atol=1e-5)
    base = diff(case.plain.run(case.corrupt)).mean()
    assert (torch.stack(expected) - base).abs().max() > 1e-3


@pytest.mark.parametrize("component", ["q", "k", "v"])
def test_direct_paths_of_all_sources(case, diff, component):
    found = patching.get_act_patch_direct_path_all_sources(
        case.model, case.corrupt, case.clean_cache, case.corrupt_cache,
        lambda logits: diff(logits).mean(), component, verbose=False,
    )  # fmt: skip
    for src, dst in itertools.product(range(3), range(3)):
        expected = plain_edge(case, diff, (0, src), component, (1, dst))
        assert abs(float(found[0, src, 1, dst]) - float(expected)) < 1e-5


def test_direct_path_restores_attn_in(case, diff):
    case.model.set_use_attn_in(True)
    patching.get_act_patch_direct_path(
        case.model, case.corrupt, case.clean_cache, case.corrupt_cache,
        lambda logits: diff(logits).mean(), 0, 0, verbose=False,
    )  # fmt: skip
    assert flags(case.model) == [False, False, False, True]
    case.model.set_use_attn_in(False)


def first(case):
    """The case's first prompt pair alone: TransformerLens scores one pair at a time."""
    return case.clean[:1], case.corrupt[:1]


def metric(logits):
    return logits[0, -1, 3] - logits[0, -1, 11]


def central_difference(case, edit_of, step=1e-5):
    """The slope of the plain metric of the corrupted prompt along an edit of a given size."""
    corrupt = case.corrupt[:1]
    up, down = (metric(case.plain.run(corrupt, edit_of(size))) for size in (step, -step))
    return float(up - down) / (2 * step)


def test_node_attribution_equals_finite_differences(case):
    clean, corrupt = first(case)
    scores = attribution_patch(case.model, clean, corrupt, metric).node_scores
    assert len(scores) == 5 * (1 + 2 * (3 + 1))
    for node in list(scores)[::4]:
        name = node.hook_name
        delta = (case.plain_clean[name] - case.plain_corrupt[name])[at(node)]
        slope = central_difference(case, lambda size, n=node, d=delta: adding(n, size * d))
        assert abs(scores[node] - slope) < 1e-7
    assert max(abs(score) for score in scores.values()) > 0.05


def test_edge_attribution_equals_finite_differences(case):
    clean, corrupt = first(case)
    before = flags(case.model)
    found = attribution_patch(
        case.model, clean, corrupt, metric, EdgeAttributionConfig(granularity="edge")
    )
    assert flags(case.model) == before
    edges = list(found.edge_scores)
    assert {reader.kind for _, reader in edges} == {
        "q_input", "k_input", "v_input", "mlp_in", "logits"
    }  # fmt: skip
    for writer, reader in edges[::37]:
        name = writer_name(writer)
        delta = (case.plain_clean[name] - case.plain_corrupt[name])[at(writer)]
        slope = central_difference(case, lambda size, r=reader, d=delta: adding(r, size * d))
        assert abs(found.edge_scores[writer, reader] - slope) < 1e-7
    assert max(abs(score) for score in found.edge_scores.values()) > 0.05
    nodes = attribution_patch(case.model, clean, corrupt, metric).node_scores
    for node, score in nodes.items():
        assert abs(found.node_scores[node] - score) < 1e-9


def graph(case):
    names = [*case.model.hook_dict]
    model = case.model
    for flag in FLAGS[:3]:
        getattr(model, f"set_{flag}")(True)
    names.remove("blocks.0.hook_attn_in")
    names.remove("blocks.1.hook_attn_in")
    cache = cache_activation_and_gradient(model, case.corrupt[:1], metric, names)
    edges, nodes = enumerate_edges(model, cache), enumerate_nodes(model, cache)
    for flag in FLAGS[:3]:
        getattr(model, f"set_{flag}")(False)
    return edges, nodes


def plain_circuit(case, kept, edges, replacements):
    """The metric of the clean prompt with every other edge's writer replaced."""
    outside = {}
    for writer, reader in edges:
        if (writer, reader) not in kept:
            outside.setdefault(reader.hook_name, []).append((writer, reader))
    live = {}

    def edit(name, value):
        live[name] = value
        for writer, reader in outside.get(name, ()):
            value = value.clone()
            source = writer_name(writer)
            value[at(reader)] += (replacements[source] - live[source])[at(writer)]
        return value

    return float(metric(case.plain.run(case.clean[:1], edit)))


def test_faithfulness(case):
    clean, corrupt = first(case)
    edges, nodes = graph(case)
    assert len(nodes) == 5 * (1 + 2 * 4)
    top = float(metric(case.plain.run(clean)))
    bottom = float(metric(case.plain.run(corrupt)))
    corrupted = {name: value[:1] for name, value in case.plain_corrupt.items()}
    whole = faithfulness(case.model, clean, corrupt, metric, edges)
    assert abs(whole.recovered - 1) < 1e-10 and whole.circuit_size == len(edges)
    assert abs(whole.full_metric - top) < 1e-10 and abs(whole.corrupt_metric - bottom) < 1e-10
    position = case.plain.weights["pos_embed.W_pos"]
    assert position.abs().max() > 0.1  # not a writer of TransformerLens' graph, equal in both runs
    assert abs(faithfulness(case.model, clean, corrupt, metric, []).recovered) < 1e-10
    some = edges[::2]
    found = faithfulness(case.model, clean, corrupt, metric, some)
    expected = (plain_circuit(case, set(some), edges, corrupted) - bottom) / (top - bottom)
    assert abs(found.recovered - expected) < 1e-8
    assert abs(expected) > 1e-3 and abs(expected - 1) > 1e-3


def test_faithfulness_under_mean_ablation(case):
    clean, corrupt = first(case)
    edges, _ = graph(case)
    calibration = torch.randint(0, 28, (3, 5))
    means = {name: value.mean(0, keepdim=True)
             for name, value in case.plain.cache(calibration).items()}  # fmt: skip
    some = edges[1::2]
    found = faithfulness(
        case.model, clean, corrupt, metric, some,
        FaithfulnessConfig(ablation="mean"), mean_tokens=calibration,
    )  # fmt: skip
    top, bottom = found.full_metric, found.corrupt_metric
    expected = (plain_circuit(case, set(some), edges, means) - bottom) / (top - bottom)
    assert abs(found.recovered - expected) < 1e-8


def test_training_mode_is_refused_and_eval_is_the_default(case, diff):
    case.model.train()
    with pytest.raises(ValueError, match="evaluation"):
        attribution_patch(case.model, *first(case), metric)
    case.model.eval()
