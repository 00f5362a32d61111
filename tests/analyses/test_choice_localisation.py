"""Layers, neurons and heads: a planted anchor is found, and numbers are those of plain formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.analyses.choice_heads import choice_heads
from mechbench.analyses.choice_lens import choice_lens
from mechbench.analyses.value_vectors import value_vectors
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.models.variants.deepseek_v2 import SPEC as DEEPSEEK
from mechbench.tasks.choice_task import choice_task
from tests.analyses.choice_models import (
    POINTER,
    SHOUTER,
    choice_model,
    choices,
    planted_model,
    words,
)
from tests.analyses.reading_models import bridged

LATER = dict(items="gold later")


@pytest.fixture(scope="module")
def planted():
    return planted_model()


@pytest.fixture(scope="module")
def loud():
    return choice_model()


@torch.no_grad()
def at_last(model, task, name):
    """Activations at each prompt's last position, one prompt at a time without padding."""
    rows = []
    for ids, length in zip(task.clean, task.lengths, strict=True):
        _, cache = model.run_with_cache(ids[None, :length], names_filter=name)
        rows.append(cache[name][0, -1])
    return torch.stack(rows).double()


def gap(model, task, vectors):
    """logit(A) - logit(gold) of vectors read through the final norm in float64."""
    norm = model.ln_final
    centred = vectors - vectors.mean(-1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    x = scaled * norm.w.double() + norm.b.double()
    logits = (x @ model.W_U.double() + model.b_U.double())[:, task.label_ids].detach()
    return logits[:, 0] - logits[torch.arange(len(task)), task.gold]


def test_the_lens_finds_the_planted_layer(planted):
    result = choice_lens(planted, choices(24))
    direct = result.gap.sel(reading="direct", part="mlp", estimate="mean")
    assert int(direct.argmax("layer")) == SHOUTER[0]
    others = direct.sel(layer=[0, 1])
    assert float(direct.sel(layer=SHOUTER[0])) > 5 > 100 * float(abs(others).max())
    attention = result.gap.sel(reading="direct", part="attention", estimate="mean")
    assert int(attention.argmax("layer")) == POINTER[0]
    not_failing = result.not_failing.sel(reading="direct", part="mlp", layer=2, estimate="mean")
    assert abs(float(not_failing)) < 0.1
    failing = choices(24)
    assert list(result.values.prompt.values) == [
        i for i in range(24) if failing.sets[i] == "attribute" and failing.gold[i]
    ]


def test_both_readings_are_the_formulas(loud):
    task = choices(8, gold="not_first")
    result = choice_lens(loud, task, **LATER)
    final = at_last(loud, task, "blocks.2.hook_resid_post")
    centred = final - final.mean(-1, keepdim=True)
    sigma = (centred.pow(2).mean(-1) + 1e-5).sqrt()
    total = gap(loud, task, final)
    assert float(result.total.sel(estimate="mean")) == pytest.approx(float(total.mean()), abs=1e-4)
    U = loud.W_U.double().detach()[:, task.label_ids]
    onto = (U[:, :1] - U[:, task.gold]).T * loud.ln_final.w.double().detach()
    for part, hook in (("mlp", "hook_mlp_out"), ("attention", "hook_attn_out")):
        for layer in range(3):
            written = at_last(loud, task, f"blocks.{layer}.{hook}")
            own = result.values.sel(part=part, layer=layer)
            np.testing.assert_allclose(own.sel(reading="lens"), gap(loud, task, written), atol=2e-4)
            direct = ((written - written.mean(-1, keepdim=True)) * onto).sum(-1) / sigma
            np.testing.assert_allclose(own.sel(reading="direct"), direct, atol=2e-4)


def test_direct_gaps_add_up_to_the_run(loud):
    task = choices(8, gold="not_first")
    result = choice_lens(loud, task, **LATER)
    U = loud.W_U.double().detach()[:, task.label_ids]
    final = at_last(loud, task, "blocks.2.hook_resid_post")
    sigma = ((final - final.mean(-1, keepdim=True)).pow(2).mean(-1) + 1e-5).sqrt()
    onto = (U[:, :1] - U[:, task.gold]).T
    embedded = at_last(loud, task, "blocks.0.hook_resid_pre")
    centred = (embedded - embedded.mean(-1, keepdim=True)) * loud.ln_final.w.double().detach()
    b_U = loud.b_U.double().detach()[task.label_ids]
    fixed = (onto * loud.ln_final.b.double().detach()).sum(-1) + b_U[0] - b_U[task.gold]
    rest = (centred * onto).sum(-1) / sigma + fixed
    parts = result.values.sel(reading="direct").sum(("part", "layer")).values
    np.testing.assert_allclose(parts + rest.numpy(), gap(loud, task, final), atol=1e-3)


def test_exactly_the_planted_neuron_is_found(planted):
    result = value_vectors(planted, choices(24))
    assert result.neurons == ("{}.{}".format(*SHOUTER),)
    assert result.promoted.sel(neuron=result.neurons[0]).values[0] == "A"
    own = {"neuron": result.neurons[0], "estimate": "mean"}
    assert float(result.kept.sel(own)) == 1
    lens = choice_lens(planted, choices(24))
    of_layer = lens.gap.sel(reading="direct", part="mlp", layer=2, estimate="mean")
    assert float(result.direct.sel(own)) == pytest.approx(float(of_layer), abs=0.02)
    random = result.by_layer.sel(which="random active", estimate="mean")
    assert float(random.sel(measure="above threshold").max()) == 0


def test_gaps_of_neurons_are_those_of_single_vectors(loud):
    task = choices(8, gold="not_first")
    result = value_vectors(loud, task, k=5, threshold=0.5, min_share=0.0, n_shown=6, **LATER)
    sizes, kept = {}, {}
    for layer in range(3):
        mlp = loud.blocks[layer].mlp
        post = at_last(loud, task, f"blocks.{layer}.mlp.hook_post")
        W, b = mlp.W_out.double().detach(), mlp.b_out.double().detach()
        for neuron in range(W.shape[0]):
            name = f"{layer}.{neuron}"
            sizes[name] = (post[:, neuron].abs() * W[neuron].norm()).numpy()
            kept[name] = gap(loud, task, post[:, neuron, None] * W[neuron] + b).numpy()
        names = [f"{layer}.{n}" for n in range(W.shape[0])]
        table = np.stack([sizes[n] for n in names])
        largest = np.argsort(-table, axis=0)[:5]
        for i, name in enumerate(names):
            kept[name] = (kept[name], (largest == i).any(0) & (kept[name] > 0.5))
    found = {name for name, (_, k) in kept.items() if k.any()}
    assert set(result.neurons) == found and len(found) > 3
    for name in result.kept.neuron.values:
        lens, is_kept = kept[str(name)]
        at = {"neuron": name, "estimate": "mean"}
        assert float(result.kept.sel(at)) == pytest.approx(is_kept.mean())
        assert float(result.lens.sel(at)) == pytest.approx(lens.mean(), abs=1e-3)
    shares = [float(v) for v in result.kept.sel(estimate="mean")]
    assert shares == sorted(shares, reverse=True)


def test_promoted_tokens_are_the_largest_logits(loud):
    result = value_vectors(loud, choices(8, gold="not_first"), n_tokens=3, **LATER)
    name = str(result.promoted.neuron.values[0])
    layer, neuron = map(int, name.split("."))
    mlp = loud.blocks[layer].mlp
    with torch.no_grad():
        x = loud.ln_final((mlp.W_out[neuron] + mlp.b_out)[None, None])[0, 0]
        best = (x @ loud.W_U + loud.b_U).topk(3).indices
    assert list(result.promoted.sel(neuron=name).values) == [words().decode([i]) for i in best]


def test_the_planted_head_brings_the_label(planted):
    result = choice_heads(planted, choices(24))
    direct = result.gap.sel(reading="direct", place="first label", estimate="mean")
    best = direct.argmax(("layer", "head"))
    assert (int(best["layer"]), int(best["head"])) == POINTER
    at = {"layer": POINTER[0], "head": POINTER[1], "estimate": "mean"}
    attention = result.attention.sel(at)
    assert float(attention.sel(place="first label")) > 0.95
    assert float(attention.sel(place="random position")) < 0.01
    random = result.gap.sel(at).sel(reading="direct", place="random position")
    assert abs(float(random)) < 0.05 * float(direct.max())


@pytest.mark.parametrize("at", ["label", "option"])
def test_what_heads_bring_is_pattern_times_value_times_output(loud, at):
    task = choices(6, gold="not_first")
    result = choice_heads(loud, task, at=at, **LATER)
    where = (task.label_positions if at == "label" else task.option_positions)[:, 0]
    layer, head = 1, 3
    vectors, weights = [], []
    names = [f"blocks.{layer}.attn.hook_{x}" for x in ("pattern", "v")]
    with torch.no_grad():
        for i in range(len(task)):
            ids = task.clean[i, None, : task.lengths[i]]
            _, cache = loud.run_with_cache(ids, names_filter=names)
            weight = cache[names[0]][0, head, -1, where[i]]
            v = cache[names[1]][0, where[i], head]
            vectors.append(weight * v @ loud.blocks[layer].attn.W_O[head])
            weights.append(float(weight))
    found = result.gap.sel(reading="lens", place="first label", layer=layer, head=head)
    expected = gap(loud, task, torch.stack(vectors).double()).mean()
    assert float(found.sel(estimate="mean")) == pytest.approx(float(expected), abs=1e-3)
    weight = result.attention.sel(place="first label", layer=layer, head=head, estimate="mean")
    assert float(weight) == pytest.approx(np.mean(weights), abs=1e-6)


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX"])
def test_bridged_models_can_be_searched(tmp_path, kind):
    model = bridged_choice_model(tmp_path, kind)
    task = choices(6, gold="not_first")
    lens = choice_lens(model, task, **LATER)
    neurons = value_vectors(model, task, threshold=0.1, min_share=0.0, **LATER)
    heads = choice_heads(model, task, **LATER)
    assert np.isfinite(lens.gap.values).all() and np.isfinite(heads.gap.values).all()
    assert neurons.neurons and np.isfinite(neurons.direct.values).all()


def bridged_choice_model(folder, kind="Llama"):
    """A random bridged model with as many tokens as the words."""
    model = bridged(folder, kind, {"vocab_size": len(words()), "max_position_embeddings": 96})
    model.tokenizer = words()
    return model


def test_what_cannot_be_localised(planted, loud):
    task = choices(12)
    with pytest.raises(TaskError, match=r"12 prompts, in \d+ of them .* and 0 of these fail"):
        choice_lens(planted, choices(12, families=["ioi"]))
    with pytest.raises(TaskError, match="items='gold later'"):
        value_vectors(planted, choices(12, families=["ioi"]))
    with pytest.raises(TaskError, match="items='all' is not known"):
        choice_heads(planted, task, items="all")
    with pytest.raises(TaskError, match="at='word' is not known"):
        choice_heads(planted, task, at="word")
    with pytest.raises(TaskError, match="k=25 .* give 1 to 24"):
        value_vectors(planted, task, k=25)
    with pytest.raises(UnsupportedHookError, match="no layer 3: its layers are 0..2"):
        value_vectors(planted, task, layers=[3])
    with pytest.raises(TaskError, match="name a layer"):
        value_vectors(planted, task, layers=[])
    config = replace(DEEPSEEK.presets["tiny"], d_vocab=len(words()), n_ctx=96)
    other = DEEPSEEK.build(config, "experts")
    with pytest.raises(UnsupportedHookError, match="architectures: gpt2, llama"):
        value_vectors(other, task)


def test_prompts_of_other_labels_are_searched_for_their_own(planted):
    # Under P, Q, R, S the neuron says no label, so nothing fails.
    task = choices(12, families=["attribute"], gold="not_first")
    relabelled = choice_task(words(), task.items, labels="P")
    with pytest.raises(TaskError, match="0 of these fail: the likeliest token is ' P'"):
        value_vectors(planted, relabelled)
