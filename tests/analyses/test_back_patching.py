"""Back-patching where the rescuing cells are known, and against one generation per cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from mechbench.analyses.back_patching import back_patching
from mechbench.analyses.common import layer_pairs
from mechbench.analyses.common.layer_pairs import _noisy
from mechbench.errors import MechbenchError, StoreError, TaskError, TokenizerError
from mechbench.figures.back_patching import back_patching_figure
from mechbench.models.generation import generate
from mechbench.models.loading import load_model
from mechbench.models.registry import VARIANTS
from mechbench.results.back_patching import MEASURES, OTHER, OWN
from mechbench.results.io import load_result
from tests.analyses.late_hop import RESCUING, late_model, late_task, leads_to
from tests.analyses.two_hop_models import (
    ENTITIES,
    RELATIONS,
    answerable,
    tiny_gpt2,
    word_tokenizer,
)


@pytest.fixture(scope="module")
def late():
    return back_patching(late_model(), late_task(), max_new_tokens=2)


@pytest.fixture(scope="module", params=["gpt2", "looped", "bridged"])
def found(request, tmp_path_factory):
    """A model, a task on what it says itself, and the result."""
    builders = {"gpt2": lambda folder: tiny_gpt2(scale=1.0), "looped": looped, "bridged": bridged}
    model = builders[request.param](tmp_path_factory.mktemp("model"))
    task = answerable(model, 30)
    return model, task, back_patching(model, task, max_new_tokens=2, most=3)


def only_entities(weight, vocab_first):
    """Zero the logits of all words but entities, which are rows or columns of ``weight``."""
    weight[:vocab_first] = 0.0
    weight[-len(RELATIONS) :] = 0.0


@torch.no_grad()
def bridged(folder):
    """A model that always runs whole prompts, by full forward passes, and says entities."""
    tokenizer = word_tokenizer()
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=48,
        tie_word_embeddings=False,
    )
    module = transformers.LlamaForCausalLM(config).eval()
    for weight in module.parameters():
        weight.add_(torch.randn_like(weight) * 0.3)
    only_entities(module.lm_head.weight, len(tokenizer) - len(ENTITIES) - len(RELATIONS))
    module.save_pretrained(folder)
    model = load_model(folder)
    model.tokenizer = tokenizer
    return model


@torch.no_grad()
def looped(folder):
    tokenizer = word_tokenizer()
    spec = next(spec for spec in VARIANTS if spec.name == "looped")
    torch.manual_seed(3)
    model = spec.build(replace(spec.presets["tiny"], d_vocab=len(tokenizer)))
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.3)
    model.W_E[: len(tokenizer) - len(ENTITIES) - len(RELATIONS)].mul_(0.1)
    model.W_E[-len(RELATIONS) :].mul_(0.1)
    model.tokenizer = tokenizer
    return model


def test_the_planted_cells_rescue_and_no_other(late):
    assert late.counts == {"incorrect": 12, "correct": 0, "neither": 0}
    for rule in ("first token", "text"):
        own = late.success.sel(rule=rule, state=OWN)
        for source in range(4):
            for target in range(4):
                rescued = own.sel(source_layer=source, target_layer=target)
                expected = float((source, target) in RESCUING)
                assert (rescued.sel(position="t1") == expected).all(), (source, target)
                assert (rescued.sel(position="t2") == 0).all()
        at = late.rates.sel(rule=rule, set="incorrect", position="t1", measure="back-patched")
        np.testing.assert_allclose(at.sel(rate=["any cell", "fixed cell"]), 1.0)
        assert float(at.sel(rate="mean over cells", estimate="mean")) == pytest.approx(2 / 6)
        cell = late.fixed_cells.sel(rule=rule, position="t1", measure="back-patched")
        assert tuple(cell.values) in RESCUING
    assert late.rates.sel(set="correct").isnull().all()


def test_another_querys_state_brings_its_bridge(late):
    """With the partner's state the model answers about the partner's bridge, so it is wrong."""
    task = late_task()
    for i, query in enumerate(task.queries):
        partner = task.queries[int(task.partners[i])]
        other = leads_to(ENTITIES.index(partner.e2.name), RELATIONS.index(query.r2))
        at = dict(prompt=i, state=OTHER, position="t1", source_layer=2, target_layer=0)
        assert late.tokens[int(late.first.sel(at))] == f" {ENTITIES[other]}"
        right = ENTITIES[other] == query.e3.name
        assert (late.success.sel(at) == right).all()
        named = {partner.e3.name} & set(
            late.texts[int(late.said.sel({**at, "state": OWN}))].split()
        )
        at.pop("state")
        assert bool(late.other_answer.sel(at).sel(rule="text")) == bool(named)


@torch.no_grad()
def one_by_one(model, task, query, place, target, state):
    """The new tokens of one hooked generation."""
    ids, position = task.tokens_of()[query], int(task.spans[place][query])

    def write(resid, hook):
        resid = resid.clone()
        resid[:, position] = state
        return resid

    hooks = [(f"blocks.{target}.hook_resid_post", write)]
    done = generate(model, ids[None], max_new_tokens=2, fwd_hooks=hooks)
    return done.tokens[0][len(ids) :]


@torch.no_grad()
def test_every_cell_is_one_hooked_generation(found):
    model, task, result = found
    n_layers = model.cfg.n_layers
    assert {"correct", "incorrect"} >= set(result.sets.values) and len(result.sets) >= 2
    different = set()
    for query in result.sets["prompt"].values[:2]:
        for state, origin in ((OWN, int(query)), (OTHER, int(task.partners[query]))):
            _, cache = model.run_with_cache(task.tokens_of()[origin][None])
            for place in ("t1", "t2"):
                position = int(task.spans[place][origin])
                for source in range(n_layers):
                    for target in range(n_layers):
                        at = dict(prompt=query, state=state, position=place)
                        at |= dict(source_layer=source, target_layer=target)
                        if state == OTHER and source <= target:
                            assert int(result.said.sel(at)) == -1
                            assert result.success.sel(at).isnull().all()
                            continue
                        h = cache["resid_post", source][0, position]
                        new = one_by_one(model, task, query, place, target, h)
                        text = model.tokenizer.decode(new)
                        assert result.texts[int(result.said.sel(at))].strip() == text.strip()
                        name = task.queries[query].e3.name
                        success = result.success.sel(at)
                        assert bool(success.sel(rule="text")) == (name in text)
                        first = int(new[0]) in task.answer_ids[query]
                        assert bool(success.sel(rule="first token")) == first
                        different.add(text)
    assert len(different) > 1  # patches matter


def test_the_diagonal_is_the_unpatched_run(found):
    _, _, result = found
    for i in range(len(result.sets)):
        for layer in result.success["source_layer"].values:
            at = dict(state=OWN, source_layer=layer, target_layer=layer)
            texts = result.said.isel(prompt=i).sel(at)
            assert [result.texts[k] for k in texts.values] == [result.unpatched[i]] * 2


def test_rates_are_means_of_maxima_of_fixed_cells_and_of_all(found):
    _, _, result = found
    n_layers = result.success.sizes["source_layer"]
    sets = result.sets.values
    back = [(s, t) for s in range(n_layers) for t in range(n_layers) if s > t]
    chosen = np.isin(result.sets["prompt"].values, result.chosen_on)
    assert chosen.sum() == result.n_chosen and (sets[chosen] == "incorrect").all()
    for rule in result.rates["rule"].values:
        for place in ("t1", "t2"):
            at = dict(rule=rule, position=place)
            own = result.success.sel({**at, "state": OWN}).values
            cells = {
                "back-patched": [own[:, s, t] for s, t in back],
                "forward": [own[:, t, s] for s, t in back],
                "other query": [
                    result.success.sel({**at, "state": OTHER}).values[:, s, t] for s, t in back
                ],
                "other answer": [result.other_answer.sel(at).values[:, s, t] for s, t in back],
            }
            best = {m: int(np.mean(np.array(v)[:, chosen], 1).argmax()) for m, v in cells.items()}
            for measure, values in cells.items():
                values = np.array(values)
                cell = best[measure if measure == "forward" else "back-patched"]
                pair = back[cell] if measure != "forward" else back[cell][::-1]
                fixed = result.fixed_cells.sel({**at, "measure": measure})
                assert tuple(fixed.values) == pair
                for name in set(sets):
                    here = sets == name
                    scored = here & ~chosen
                    means = result.rates.sel(
                        {**at, "set": name, "measure": measure, "estimate": "mean"}
                    )
                    expected = [
                        values[:, here].max(0).mean(),
                        values[cell, scored].mean(),
                        values[:, here].mean(),
                    ]
                    np.testing.assert_allclose(means.values, expected, atol=1e-12)
    assert tuple(result.rates["measure"].values) == MEASURES


def test_noise_is_as_long_as_the_change():
    layers = torch.randn(4, 32)
    cells = [(2, 0), (3, 1), (3, 2)]
    noisy = _noisy(layers, cells, (0, 5, 1))
    for (source, target), state in zip(cells, noisy, strict=True):
        change, made = layers[source] - layers[target], state - layers[target]
        assert float(made.norm()) == pytest.approx(float(change.norm()), rel=1e-5)
        assert abs(float(torch.cosine_similarity(change, made, dim=0))) < 0.7
    assert torch.equal(noisy, _noisy(layers, cells, (0, 5, 1)))
    assert not torch.equal(noisy, _noisy(layers, cells, (1, 5, 1)))


def test_models_that_cannot_be_entered_give_the_same(late):
    model = late_model()
    capabilities = model.capabilities
    model.capabilities = replace(capabilities, restart_at_layer=False, incremental=False)
    try:
        whole = back_patching(model, late_task(), max_new_tokens=2)
    finally:
        model.capabilities = capabilities
    assert whole.said.equals(late.said) and whole.rates.equals(late.rates)


def test_first_tokens_alone(late):
    result = back_patching(late_model(), late_task(), method="argmax", positions=["t1"])
    assert list(result.success["rule"].values) == ["first token"] and result.texts == ()
    first = late.success.sel(rule=["first token"], position=["t1"])
    assert result.success.equals(first)


def test_a_cap_leaves_out_queries_of_one_bridge():
    task = late_task(20)
    result = back_patching(late_model(), task, method="argmax", cap=1, cap_by="e2")
    bridges = [task.queries[i].e2.name for i in result.sets["prompt"].values]
    n = len(bridges)
    assert n == len(set(bridges)) == len({query.e2.name for query in task.queries}) < 20
    assert result.counts == {"incorrect": 20, "correct": 0, "neither": 0}


def test_interrupted_work_goes_on(tmp_path, monkeypatch, late):
    model, task = late_model(), late_task()
    monkeypatch.setattr(layer_pairs, "_ROWS_AT_ONCE", 40)

    def stop(done, total):
        if done > 150:
            raise KeyboardInterrupt

    options = dict(max_new_tokens=2, checkpoint=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        back_patching(model, task, progress=stop, **options)
    seen = []
    result = back_patching(model, task, progress=lambda *a: seen.append(a), **options)
    assert result.said.equals(late.said) and result.rates.equals(late.rates)
    n_rows = 12 * 2 * (12 + 2 * 6)
    assert seen[-1] == (60 + n_rows, 60 + n_rows)
    assert all(a <= b for (a, _), (b, _) in zip(seen, seen[1:], strict=False))
    with pytest.raises(StoreError, match="other work"):
        back_patching(model, task, method="argmax", checkpoint=tmp_path)


def test_result_and_figure(tmp_path, late, found):
    for result in (late, found[2]):
        assert load_result(result.save(tmp_path / str(id(result)))).identical(result)
    figure = back_patching_figure(late)
    assert "inflated by the number of tries" in figure.caption
    assert "chosen on 6 queries" in figure.caption
    grid = figure.panels[0]
    assert grid.values[2, 0] == grid.values[3, 0] == 1 and grid.values.sum() == 2
    assert grid.marked in (((2, 0),), ((3, 0),))
    assert len(figure.panels) == 4 and figure.columns == 2
    assert back_patching_figure(late, rule="first token", state=OTHER).panels[0].title.endswith("s")
    with pytest.raises(MechbenchError, match="rule='x'"):
        back_patching_figure(late, rule="x")


@pytest.mark.parametrize(
    "options, match",
    [
        ({"positions": ["t3"]}, "some of t1, t2"),
        ({"positions": ["t1", "t1"]}, "some of t1, t2"),
        ({"most": 1}, "too few"),
        ({"method": "guess"}, "method='guess'"),
        ({"cap": 1}, "cap_by='e2'"),
        ({"cap": 1, "cap_by": "e3"}, "cap_by='e3'"),
        ({"max_new_tokens": 40}, "context is 16"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(TaskError, match=match):
        back_patching(late_model(), late_task(), **options)


def test_a_model_that_knows_nothing_is_refused():
    with pytest.raises(TaskError, match="0 incorrect.*see hop_labels"):
        back_patching(tiny_gpt2(scale=0.0), late_task(), method="argmax")
    model = tiny_gpt2()
    model.tokenizer = None
    with pytest.raises(TokenizerError):
        back_patching(model, late_task())
