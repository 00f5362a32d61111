"""Exact edge patching against equations in float64, hooks on a bridged model, TransformerLens."""

import dataclasses

import numpy as np
import pytest
import torch
from transformer_lens.patching import get_act_patch_direct_path

from mechbench.discovery import edge_patches
from mechbench.discovery.circuit_forward import split_inputs
from mechbench.discovery.edge_patches import patch_edges
from mechbench.discovery.reader_values import ReaderValues
from mechbench.errors import CircuitError, UnsupportedHookError
from mechbench.graphs.wiring import wire
from mechbench.interventions.runs import Runs
from tests.interventions.conftest import random_metric, random_pairs
from tests.reference.plain_gpt2 import PlainGPT2


def read(logits, metric):
    logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    return metric(logits if metric.vocab is None else logits[..., metric.vocab])


def writer_output(cache, name):
    if name == "input":
        return cache["hook_embed"]
    if name.startswith("m"):
        return cache[f"blocks.{name[1:]}.hook_mlp_out"]
    layer, head = name[1:].split(".h")
    return cache[f"blocks.{layer}.attn.hook_result"][:, :, int(head)]


def plain_edges(model, pairs, metric, names):
    """The scores from a model written down as equations, one full forward per edge."""
    plain = PlainGPT2(model)
    clean, corrupt = plain.cache(pairs.clean), plain.cache(pairs.corrupt)
    base = read(plain.run(pairs.clean), metric)
    last = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    scores = []
    for name in names:
        edge, _, position = name.partition("@")
        writer, reader = edge.split("->")
        delta = writer_output(corrupt, writer) - writer_output(clean, writer)
        if position:
            keep = torch.zeros(pairs.n_positions)
            keep[int(position)] = 1
            delta = delta * keep[:, None]

        def edit(at, value, reader=reader, delta=delta):
            value = value.clone()
            if reader == "logits" and at == last:
                value += delta
            elif reader.startswith("m") and at == f"blocks.{reader[1:]}.hook_mlp_in":
                value += delta
            elif reader.startswith("a"):
                layer, rest = reader[1:].split(".h")
                head, kind = rest.rstrip(">").split("<")
                if at == f"blocks.{layer}.attn.hook_{kind}_input":
                    value[:, :, int(head)] += delta
            return value

        scores.append((base - read(plain.run(pairs.clean, edit), metric)).mean(-1))
    return torch.stack(scores, 1)


def test_every_edge_equals_the_equations(gpt2):
    pairs = random_pairs(n_prompts=3, length=7, seed=1)
    metric = random_metric(pairs)
    wiring = wire(gpt2)
    found = patch_edges(gpt2, pairs, metric, wiring)
    expected = plain_edges(gpt2, pairs, metric, wiring.graph.edge_names)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert (expected.abs().amax(0) > 1e-3).double().mean() > 0.9


def test_some_edges_in_the_order_given(gpt2):
    pairs = random_pairs(n_prompts=2, length=6, seed=2)
    metric = random_metric(pairs)
    wiring = wire(gpt2)
    names = ["m0->logits", "a0.h2->a1.h1<k>", "input->m0", "a0.h2->a1.h1<q>"]
    found = patch_edges(gpt2, pairs, metric, wiring, edges=names)
    every = patch_edges(gpt2, pairs, metric, wiring)
    columns = [wiring.graph.edge_names.index(name) for name in names]
    torch.testing.assert_close(found, every[:, columns], rtol=0, atol=1e-12)


def test_positions_equal_the_equations(gpt2):
    pairs = random_pairs(n_prompts=2, length=5, seed=3)
    metric = random_metric(pairs)
    wiring = wire(gpt2, n_positions=5)
    names = [n for n in wiring.graph.edge_names if n.startswith(("a0.h1->", "input->", "m1->"))]
    found = patch_edges(gpt2, pairs, metric, wiring, edges=names)
    expected = plain_edges(gpt2, pairs, metric, names)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    early = [n.endswith(("@0", "@1")) for n in names]  # what both prompts share
    assert not found[:, early].any() and found.any()


def test_chunks_change_nothing_and_can_be_resumed(gpt2, monkeypatch, tmp_path):
    pairs = random_pairs(n_prompts=2, length=6, seed=4)
    metric, wiring = random_metric(pairs), wire(gpt2)
    whole = patch_edges(gpt2, pairs, metric, wiring)
    monkeypatch.setattr(edge_patches, "_CHUNK_BYTES", 3 * 2 * 6 * 32 * 8)
    counted, stop = [], 6

    def chunks(name, n_edges):
        if len(counted) == stop:
            raise KeyboardInterrupt
        counted.append(n_edges)
        return {"checkpoint": tmp_path / f"{name}.chunks"}

    with pytest.raises(KeyboardInterrupt):
        patch_edges(gpt2, pairs, metric, wiring, chunks=chunks)
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert 0 < len(kept) <= stop
    stop = None
    counted.clear()
    again = patch_edges(gpt2, pairs, metric, wiring, chunks=chunks)
    assert sum(counted) == wiring.graph.n_edges and len(counted) > len(wiring.readers)
    assert torch.equal(again, whole)


def hooked_edge(model, pairs, metric, wiring, name):
    """One edge by a hook on the reader's own input."""
    writer, reader = wiring.graph.edge_index(name)
    bank = next(b for b in wiring.writers if b.writers.start <= writer < b.writers.stop)
    into = next(b for b in wiring.readers if b.readers.start <= reader < b.readers.stop)
    outputs = []
    for tokens in (pairs.clean, pairs.corrupt):
        _, cache = model.run_with_cache(tokens, names_filter=bank.hook_name)
        outputs.append(bank.outputs(cache[bank.hook_name])[writer - bank.writers.start])
    change = outputs[1] - outputs[0]
    own = reader - into.readers.start

    def add(value, hook):
        value = value.clone()
        if value.dim() == 4:
            value[:, :, own] += change
        else:
            value += change
        return value

    with split_inputs(model):
        base = read(model(pairs.clean), metric)
        patched = read(model.run_with_hooks(pairs.clean, fwd_hooks=[(into.input, add)]), metric)
    return (base - patched).mean(-1)


@torch.inference_mode()
def test_grouped_heads_of_a_bridged_model_equal_hooks_on_split_inputs(llama):
    pairs = random_pairs(n_prompts=2, length=6, seed=6)
    metric, wiring = random_metric(pairs), wire(llama)
    names = [
        "input->a0.h3<q>",
        "a0.h1->a1.g0<k>",
        "a0.h2->a1.g1<v>",
        "m0->a1.h2<q>",
        "a0.h0->m0",
        "a1.h3->m1",
        "m0->m1",
        "a0.h3->logits",
        "m1->logits",
    ]
    found = patch_edges(llama, pairs, metric, wiring, edges=names)
    expected = torch.stack([hooked_edge(llama, pairs, metric, wiring, n) for n in names], 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert expected.abs().amax(0).min() > 1e-4


def test_heads_into_queries_keys_and_values_equal_transformer_lens(gpt2):
    pairs = random_pairs(n_prompts=2, length=6, seed=7)
    metric, wiring = random_metric(pairs), wire(gpt2)
    with torch.inference_mode():
        _, clean = gpt2.run_with_cache(pairs.clean)
        _, corrupt = gpt2.run_with_cache(pairs.corrupt)
        base = read(gpt2(pairs.clean), metric).mean()
    for kind in "qkv":
        # their "clean" run is written into the "corrupted" one, so that ours swap places
        theirs = get_act_patch_direct_path(
            gpt2,
            pairs.clean,
            corrupt,
            clean,
            lambda logits: read(logits, metric).mean(),
            src_layer=0,
            src_head=1,
            component=kind,
            verbose=False,
        )[1]
        names = [f"a0.h1->a1.h{head}<{kind}>" for head in range(3)]
        found = patch_edges(gpt2, pairs, metric, wiring, edges=names).mean(0)
        np.testing.assert_allclose(found, base - theirs.double(), atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("which", ["gpt2", "llama"])
def test_all_edges_into_a_reader_make_it_read_the_corrupted_stream(which, request):
    model = request.getfixturevalue(which)
    pairs = random_pairs(n_prompts=2, length=6, seed=8)
    wiring, runs = wire(model), Runs(model, pairs)
    for run in ("clean", "corrupt"):
        runs.need(run, [bank.hook_name for bank in wiring.writers])
    for bank in wiring.readers[:-1]:
        values = ReaderValues(model, runs, bank)
        change = torch.zeros_like(values.stream)
        for written in wiring.writers:
            if written.writers.start < bank.n_before:
                clean, corrupt = (runs[run][written.hook_name] for run in ("clean", "corrupt"))
                change += written.outputs(corrupt - clean).sum(0)
        tolerance = 1e-10 if which == "gpt2" else 1e-5
        torch.testing.assert_close(
            values.with_change(change),
            runs["corrupt"][values.hook_name],
            rtol=0,
            atol=tolerance,
        )


@torch.inference_mode()
def test_a_model_that_forms_its_queries_otherwise_is_refused(gpt2):
    pairs = random_pairs(n_prompts=2, length=5)
    wiring, runs = wire(gpt2), Runs(gpt2, pairs)
    bank = wiring.readers[0]
    weight = bank.weight()
    other = dataclasses.replace(bank, weight=lambda: weight * 1.01)
    ReaderValues(gpt2, runs, bank)
    with pytest.raises(UnsupportedHookError, match="blocks.0.attn.hook_q"):
        ReaderValues(gpt2, runs, other)


def test_an_edge_that_does_not_exist(gpt2):
    pairs = random_pairs(n_prompts=2, length=5)
    metric, wiring = random_metric(pairs), wire(gpt2)
    with pytest.raises(CircuitError, match="no reader 'a1.h9<q>'"):
        patch_edges(gpt2, pairs, metric, wiring, edges=["m0->a1.h9<q>"])
    with pytest.raises(CircuitError, match="written after"):
        patch_edges(gpt2, pairs, metric, wiring, edges=["m1->a1.h0<q>"])
    with pytest.raises(CircuitError, match="No edges"):
        patch_edges(gpt2, pairs, metric, wiring, edges=[])
