"""Attention knockout against plain masks, TransformerLens' patterns, and a planted circuit."""

import numpy as np
import pytest
import torch

from mechbench.analyses.attention_knockout import attention_knockout
from mechbench.analyses.common.knockout import knock_out, other_keys, possible_pairs
from mechbench.analyses.common.steps import Steps
from mechbench.errors import TaskError
from mechbench.figures.attention_knockout import attention_knockout_figure
from mechbench.planted.two_hop import two_hop
from mechbench.results.io import load_result
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import WORLD
from tests.analyses.planted_queries import planted_task
from tests.analyses.reading_models import bridged
from tests.analyses.two_hop_models import answerable, tiny_gpt2, word_tokenizer


@pytest.fixture(scope="module")
def model():
    return tiny_gpt2()


@pytest.fixture(scope="module")
def task(model):
    return answerable(model, 8)


@torch.no_grad()
def masked(model, ids, layers, query, key):
    """Logits of one prompt whose patterns of these layers are set right by hand: key taken out."""

    def drop(pattern, hook):
        pattern = pattern.clone()
        rest = 1 - pattern[0, :, query, key]
        pattern[0, :, query] = pattern[0, :, query] / rest[:, None]
        pattern[0, :, query, key] = 0
        return pattern

    hooks = [(f"blocks.{layer}.attn.hook_pattern", drop) for layer in layers]
    return model.run_with_hooks(ids[None], fwd_hooks=hooks)[0]


@pytest.mark.parametrize("window", [0, 1])
def test_renormalised_patterns(model, task, window):
    result = attention_knockout(
        model, task, pairs=[("t2", "t1"), ("e1", "r2")], window=window, method="argmax"
    )
    for pair, (query, key) in (("t2 to t1", ("t2", "t1")), ("e1 to r2", ("e1", "r2"))):
        for centre in range(3):
            layers = [i for i in range(3) if abs(i - centre) <= window]
            change, matters = [], []
            for i, ids in enumerate(task.tokens_of("composition")):
                q, k = int(task.spans[query][i]), int(task.spans[key][i])
                with torch.no_grad():
                    base = model(ids[None])[0, -1]
                logits = masked(model, ids, layers, q, k)[-1]
                answer = int(task.answers[i])
                change.append(float((logits.log_softmax(-1) - base.log_softmax(-1))[answer]))
                matters.append(int(logits.argmax()) != int(base.argmax()))
            at = {"estimate": "mean", "pair": pair, "layer": centre}
            assert result.change.sel(at).item() == pytest.approx(np.mean(change), abs=1e-4)
            assert result.matters.sel(at).item() == pytest.approx(np.mean(matters))


@torch.no_grad()
def test_text_keeps_the_mask_to_the_prompt(model, task):
    """By full forward passes: the mask acts on queries of the prompt alone."""
    found = knock_out(
        model, task, task.t2, task.t1, window=0, method="generate", max_new_tokens=3,
        steps=Steps(40, None, None), name="x",
    )  # fmt: skip
    for i, prompt in enumerate(task.tokens_of("composition")[:4]):
        texts = []
        for layers in ([], [0], [1], [2]):
            ids = prompt
            for _ in range(3):
                logits = masked(model, ids, layers, int(task.t2[i]), int(task.t1[i]))
                ids = torch.cat([ids, logits[-1].argmax()[None]])
            texts.append(model.tokenizer.decode(ids[len(prompt) :]))
        e3 = task.queries[i].e3.name
        for layer in range(3):
            said = [e3 in text.split() for text in (texts[0], texts[1 + layer])]
            expected = texts[1 + layer] != texts[0] and not all(said)
            assert bool(found.matters[layer, i]) == expected


def test_planted_circuit_needs_its_second_hop_where_it_is():
    """Head 1.0 reads the middle where it stands, head 2.2 the value: those and no other layers."""
    planted = two_hop(24)
    task, middles, values = planted_task(planted)
    model = planted.model
    run = {"window": 0, "method": "argmax", "max_new_tokens": 1}
    for keys, layer in ((middles, 1), (values, 2)):
        found = knock_out(model, task, task.t2, keys, **run, steps=Steps(99, None, None), name="p")
        assert found.matters[layer].mean() > 0.8
        others = [i for i in range(3) if i != layer]
        assert not found.matters[others].any()
        assert found.change[others].abs().max() < 0.1 and found.change[layer].mean() < -2


def test_control_masks_another_key(task):
    keys = other_keys(task.t2, task.t1, 3)
    assert ((keys < task.t2) & (keys != task.t1) & (keys > 0)).all()
    assert len(set(keys.tolist())) > 1 and keys.equal(other_keys(task.t2, task.t1, 3))
    assert other_keys(torch.tensor([2]), torch.tensor([1]), 0).tolist() == [0]


def test_default_pairs_are_possible(model, task):
    pairs = possible_pairs(task)
    assert pairs[0] == ("t2", "t1") and ("t2", "e1") not in pairs  # the same position
    assert pairs[1:] == [("t2", "r1"), ("t2", "r2"), ("e1", "r1"), ("e1", "r2"), ("r1", "r2")]


def test_bridged_models(tmp_path):
    model = bridged(tmp_path)
    model.tokenizer = word_tokenizer()
    queries = answerable(tiny_gpt2(), 10).queries
    task = two_hop_task(model.tokenizer, queries, templates=WORLD)
    result = attention_knockout(
        model, task, pairs=[("t2", "t1")], window=0, method="argmax", labels=None
    )
    ids = task.tokens_of("composition")
    with torch.no_grad():
        change = [
            float(
                masked(model, row, [1], 4, 3)[-1].log_softmax(-1)[answer]
                - model(row[None])[0, -1].log_softmax(-1)[answer]
            )
            for row, answer in zip(ids, task.answers[:, 0].tolist(), strict=True)
        ]
    found = result.change.sel(estimate="mean", layer=1).item()
    assert found == pytest.approx(np.mean(change), abs=1e-5) and abs(found) > 1e-4


def test_figure_storage_and_resuming(model, task, tmp_path):
    counts = []
    options = {"method": "argmax", "window": 1, "labels": "argmax"}
    result = attention_knockout(
        model, task, progress=lambda d, n: counts.append((d, n)), checkpoint=tmp_path, **options
    )
    assert counts[-1][0] == counts[-1][1]
    again = attention_knockout(model, task, checkpoint=tmp_path, **options)
    assert again.change.equals(result.change) and again.matters.equals(result.matters)
    assert len(attention_knockout_figure(result).panels) == 2 * result.change.sizes["pair"]
    assert load_result(result.save(tmp_path / "kept")).identical(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": [("e1", "t2")]}, "does not stand before"),
        ({"pairs": [("t2", "e3")]}, "must be a query and a key"),
        ({"pairs": ["t2"]}, "give \\[query, key\\]"),
        ({"pairs": []}, "No pair"),
        ({"window": -1}, "0 or more"),
        ({"method": "beam"}, "not known"),
    ],
)
def test_refusals(model, task, options, message):
    with pytest.raises(TaskError, match=message):
        attention_knockout(model, task, **options)
