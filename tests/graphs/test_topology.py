"""The circuit graph against its counts and an enumeration from the definition."""

import numpy as np
import pytest

from mechbench.errors import CircuitError
from mechbench.graphs.topology import Shape, transformer_graph
from tests.graphs.shapes import GPT2_SMALL, SHAPES


def test_gpt2_small_has_the_published_counts():
    graph = transformer_graph(GPT2_SMALL)
    assert (len(graph.writers), len(graph.readers), graph.n_edges) == (157, 445, 32491)
    assert len(graph.edge_names) == len(set(graph.edge_names)) == 32491
    assert len(graph.nodes) == 158
    assert {"a0.h1->a5.h3<q>", "a0.h1->m2", "input->logits", "m11->logits"} <= set(graph.edge_names)


def enumerated(shape: Shape) -> set[str]:
    """Edges from the order of a forward pass, layer by layer."""
    group = shape.n_heads // shape.n_kv_heads
    stream, edges = ["input"], []
    for layer in range(shape.n_layers):
        heads = [f"a{layer}.h{h}" for h in range(shape.n_heads)]
        owners = heads if group == 1 else [f"a{layer}.g{g}" for g in range(shape.n_kv_heads)]
        before = list(stream)
        edges += [f"{w}->{h}<q>" for w in before for h in heads]
        edges += [f"{w}->{o}<{kind}>" for w in before for o in owners for kind in "kv"]
        stream += heads
        if shape.mlps:
            edges += [f"{w}->m{layer}" for w in (before if shape.parallel else stream)]
            stream.append(f"m{layer}")
    return set(edges) | {f"{w}->logits" for w in stream}


@pytest.mark.parametrize("name", SHAPES)
def test_edges_are_those_of_a_forward_pass(name):
    graph = transformer_graph(SHAPES[name])
    assert set(graph.edge_names) == enumerated(SHAPES[name])
    assert graph.n_edges == len(graph.edge_names)


@pytest.mark.parametrize("name", SHAPES)
def test_every_writer_but_the_input_has_inputs(name):
    graph = transformer_graph(SHAPES[name])
    assert graph.feeding[:, 1:].any(0).all() and not graph.feeding[:, 0].any()
    fed = {w.name: {r.name for r in graph.readers if w.name in r.feeds} for w in graph.writers}
    if name == "shared keys":
        assert fed["a1.h3"] == {"a1.h3<q>", "a1.g1<k>", "a1.g1<v>"}
    else:
        assert fed["a1.h1"] == {"a1.h1<q>", "a1.h1<k>", "a1.h1<v>"}


def test_masks_names_and_values_belong_together():
    graph = transformer_graph(SHAPES["plain"])
    some = graph.edge_names[3::7]
    mask = graph.mask(some)
    assert graph.names(mask) == some and mask.sum() == len(some)
    assert not (mask & ~graph.exists).any()
    array = np.arange(graph.exists.size).reshape(graph.exists.shape)
    values = graph.values(np.stack([array, -array]))
    assert values.shape == (2, graph.n_edges)
    at = graph.edge_index(graph.edge_names[5])
    assert values[0, 5] == array[at] and values[1, 5] == -array[at]


def test_with_positions_every_edge_exists_once_per_position():
    flat, graph = (transformer_graph(SHAPES["plain"], n) for n in (None, 4))
    assert graph.n_edges == 4 * flat.n_edges and graph.exists.shape == (4, *flat.exists.shape)
    assert graph.edge_index("a0.h1->m1@3")[0] == 3
    assert graph.names(graph.mask(["a0.h1->m1@3"])) == ("a0.h1->m1@3",)


@pytest.mark.parametrize(
    "edge, words",
    [
        ("m0", "write it as"),
        ("a0.h9->m1", "no writer 'a0.h9'"),
        ("a0.h1->m7", "no reader 'm7'"),
        ("a0.h1->a1.h1", "Did you mean 'a1.h1<"),
        ("m1->a0.h0<q>", "m1 is written after a0.h0<q> is read"),
        ("a0.h1->m1@0", "leave it out"),
    ],
)
def test_an_edge_that_does_not_exist(edge, words):
    with pytest.raises(CircuitError, match=words):
        transformer_graph(SHAPES["plain"]).mask([edge])


def test_an_edge_without_its_position():
    with pytest.raises(CircuitError, match="@0 to @3"):
        transformer_graph(SHAPES["plain"], 4).mask(["a0.h1->m1"])
