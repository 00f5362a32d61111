"""Attribution against the plain matrix form, TransformerLens, and identities that must hold."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformer_lens.tools.analysis import attribution_patching as lens

from mechbench.bench.matrix_form import matrix_form_scores
from mechbench.discovery import contraction
from mechbench.discovery.attribution import EDGE_METHODS, attribute_edges, attribute_nodes
from mechbench.graphs.wiring import wire
from mechbench.tasks.metrics import logit_difference
from tests.discovery.conftest import MODELS, our_model
from tests.reference.attribution import scores_along_activations

EXACT = dict(rtol=0, atol=1e-9)


def close(found, expected):
    assert found.abs().max() > 1e-2  # else nothing would be tested
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("steps", [0, 3])
def test_the_plain_matrix_form(name, steps, models, pairs, metric):
    model = models(name)
    method = "eap-ig-inputs" if steps else "eap"
    found = attribute_edges(model, pairs, metric, method=method, steps=steps or 1, batch_size=2)
    close(found.scores.mean(0), matrix_form_scores(model, pairs, metric, steps=steps))
    exists = torch.from_numpy(found.graph.exists)
    assert not found.scores[:, ~exists].any() and (found.scores[:, exists] != 0).all()
    assert model.cfg.use_hook_mlp_in is model.cfg.use_split_qkv_input is False
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("name", ["gpt2", "Llama", "GPTNeoX"])
def test_activations_one_run_at_a_time(name, models, pairs, metric):
    model, pairs = models(name), pairs.select(slice(0, 2))
    metric = replace(
        metric, **{k: getattr(metric, k)[:2] for k in ("positions", "correct", "wrong")}
    )

    def metric_of(logits, prompt):
        read = logits[metric.positions[prompt]][:, metric.vocab]
        right = read.gather(1, metric.correct[prompt][:, None])[:, 0]
        return (right - read.gather(1, metric.wrong[prompt]).amax(1)).mean()

    found = attribute_edges(model, pairs, metric, method="eap-ig-activations", steps=3)
    close(found.scores, scores_along_activations(model, pairs, metric_of, 3))


def test_transformer_lens(models, pairs):
    model = models("gpt2")
    pairs = replace(
        pairs,
        answers=torch.full_like(pairs.answers[:, :1], 9),
        answer_positions=torch.full_like(pairs.answer_positions[:, :1], 6),
        answer_labels=("",),
    )
    metric = logit_difference(pairs, torch.full((5, 1, 1), 20))
    theirs = lens.attribution_patch(
        model,
        pairs.clean,
        pairs.corrupt,
        lambda logits: logits[0, -1, 9] - logits[0, -1, 20],
        lens.EdgeAttributionConfig(granularity="edge"),
    )
    swapped = replace(pairs, clean=pairs.corrupt, corrupt=pairs.clean)
    found = attribute_edges(model, swapped, metric, method="eap", positions=True)
    assert len(theirs.edge_scores) == found.graph.n_edges
    scores = -found.scores.mean(0)  # their gradient is that of the corrupted run
    expected = torch.zeros_like(scores)
    for (writer, reader), score in theirs.edge_scores.items():
        edge = f"{lens_name(writer)}->{lens_name(reader)}@{writer.position}"
        assert writer.position == reader.position
        expected[found.graph.edge_index(edge)] = float(score)
    close(scores, expected)


def lens_name(node):
    if node.kind in ("embed", "logits"):
        return {"embed": "input"}.get(node.kind, node.kind)
    if node.head is None:
        return f"m{node.layer}"
    kind = "" if node.kind == "attn_head_out" else f"<{node.kind[0]}>"
    return f"a{node.layer}.h{node.head}{kind}"


@pytest.mark.parametrize("method", EDGE_METHODS)
def test_positions_sum_to_the_total(method, models, pairs, metric, monkeypatch):
    model = models("gpt2")
    options = dict(method=method, steps=2)
    total = attribute_edges(model, pairs, metric, **options)
    places = attribute_edges(model, pairs, metric, positions=True, **options)
    assert places.scores.shape[:2] == (5, 7) and places.graph.n_positions == 7
    close(places.scores.sum(1), total.scores)
    assert places.scores[:, 0].abs().max() == 0  # the prompts do not differ there
    monkeypatch.setattr(contraction, "_CHUNK_BYTES", {"cpu": 40_000})  # a few positions at a time
    close(attribute_edges(model, pairs, metric, **options).scores, total.scores)
    in_parts = attribute_edges(model, pairs, metric, positions=True, **options)
    close(in_parts.scores, places.scores)


@pytest.mark.parametrize("method", EDGE_METHODS)
def test_scores_do_not_depend_on_the_batch(method, models, pairs, metric):
    """All runs at once; two at a time, so that the path is cut; one."""
    whole, some, alone = (
        attribute_edges(models("gpt2"), pairs, metric, method=method, steps=3, batch_size=size)
        for size in (15, 2, 1)
    )
    for other in (some, alone):
        close(other.scores, whole.scores)
        close(other.clean - other.corrupt, whole.clean - whole.corrupt)


def test_ends_of_the_path(models, pairs, metric):
    model = models("gpt2")
    swapped = replace(pairs, clean=pairs.corrupt, corrupt=pairs.clean)
    clean = attribute_edges(model, pairs, metric, method="eap").scores
    corrupt = -attribute_edges(model, swapped, metric, method="eap").scores
    both = attribute_edges(model, pairs, metric, method="clean-corrupted").scores
    close(both, (clean + corrupt) / 2)
    for method in ("eap-ig-inputs", "eap-ig-activations"):
        close(attribute_edges(model, pairs, metric, method=method, steps=1).scores, clean)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("methods", [("nap", "eap"), ("nap-ig", "eap-ig-inputs")])
def test_a_node_is_the_sum_of_its_edges(name, methods, models, pairs, metric):
    model = models(name)
    nodes = attribute_nodes(model, pairs, metric, method=methods[0], steps=3)
    edges = attribute_edges(model, pairs, metric, method=methods[1], steps=3)
    close(nodes.scores, edges.scores.sum(-1))
    places = attribute_nodes(model, pairs, metric, method=methods[0], steps=3, positions=True)
    close(places.scores.sum(1), nodes.scores)


def test_integrated_gradients_are_complete(models, pairs, metric):
    """The embedding explains the whole difference (Sundararajan et al. 2017, proposition 1)."""
    smooth = replace(metric, against="mean")
    errors = []
    for steps in (50, 100):
        found = attribute_nodes(models("gpt2"), pairs, smooth, steps=steps)
        gap = found.clean - found.corrupt
        errors.append((found.scores[:, 0] - gap).abs().max() / gap.abs().max())
    # the right end of every step is taken, so the error falls as 1/steps
    assert errors[1] < 0.02 and errors[0] / errors[1] == pytest.approx(2, abs=0.1)


def test_in_a_linear_model_every_edge_is_exact(pairs, metric):
    """No norms, linear MLPs, fixed patterns: the estimate is what patching the edge does."""
    model, metric = our_model(), replace(metric, against="mean")
    with torch.no_grad():
        for block in model.blocks:
            block.ln1, block.ln2, block.mlp.act = nn.Identity(), nn.Identity(), nn.Identity()
            block.attn.W_Q.zero_()
            block.attn.b_Q.zero_()
    model.ln_final = nn.Identity()
    model.setup()
    wiring = wire(model)
    names = [bank.hook_name for bank in wiring.writers]
    with torch.no_grad():
        clean, corrupt = (
            model.run_with_cache(tokens, names_filter=names)[1]
            for tokens in (pairs.clean, pairs.corrupt)
        )
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    read = (metric.positions, metric.vocab)

    @torch.no_grad()
    def patched(writers, writer, readers, reader):
        difference = writers.outputs(clean[writers.hook_name] - corrupt[writers.hook_name])

        def patch(tensor, hook):
            tensor = tensor.clone()
            at = tensor[:, :, reader] if tensor.dim() == 4 else tensor
            at -= difference[writer]
            return tensor

        with model.hooks([(readers.input, patch)]):
            return metric(model.answer_logits(pairs.clean, *read)).mean(-1)

    expected = torch.zeros(5, *wiring.graph.exists.shape, dtype=torch.float64)
    base = metric(model.answer_logits(pairs.clean, *read)).mean(-1).detach()
    for writers in wiring.writers:
        for readers in wiring.readers:
            if readers.n_before <= writers.writers.start:
                continue
            for i, w in enumerate(range(writers.writers.start, writers.writers.stop)):
                for j, r in enumerate(range(readers.readers.start, readers.readers.stop)):
                    expected[:, w, r] = base - patched(writers, i, readers, j)
    model.set_use_split_qkv_input(False)
    model.set_use_hook_mlp_in(False)
    for method in EDGE_METHODS:
        close(attribute_edges(model, pairs, metric, method=method, steps=2).scores, expected)
