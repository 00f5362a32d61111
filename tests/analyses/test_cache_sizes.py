"""Cache sizes against counting by hand, for models whose caches differ."""

import numpy as np
import pytest
import torch

from mechbench.analyses.cache_sizes import cache_sizes
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.experiments.spec import load_spec
from mechbench.experiments.steps import checked_steps
from mechbench.figures.cache_sizes import cache_sizes_figure
from mechbench.figures.spec import Lines, Table
from mechbench.models.bundled import bundled_models
from mechbench.models.components.span import Window
from mechbench.models.memory import GrowingMemory
from mechbench.models.registry import VARIANTS
from mechbench.models.variants.gpt2 import GPT2
from mechbench.models.variants.llama import TINY, Llama
from mechbench.models.variants.plain import SPEC as PLAIN
from mechbench.models.variants.plain import Plain


@pytest.fixture
def grouped():
    return Llama(TINY, "grouped")


def test_keys_and_values_are_counted_by_hand(model, task, grouped):
    result = cache_sizes(model, task, others=[grouped], lengths=[5, 20, 100], n=2)
    cfg, tiny = model.config, TINY
    by_hand = {
        "gpt2": 2 * cfg.n_layers * cfg.d_model * 4,
        "grouped": 2 * tiny.n_layers * tiny.n_kv_heads * tiny.d_head * 4,
    }
    for name, per_token in by_hand.items():
        of = {"model": name}
        np.testing.assert_array_equal(result.formula_per_token.sel(of), per_token)
        mean = result.per_token.sel(estimate="mean", **of)
        np.testing.assert_array_equal(mean, [per_token, per_token, np.nan])  # 48 tokens of context
        np.testing.assert_array_equal(result.formula.sel(of), [per_token * n for n in (5, 20, 100)])
        np.testing.assert_array_equal(result.measured.sel(estimate="mean", **of)[0], 5 * per_token)
    assert result.agree == {"gpt2": True, "grouped": True}
    assert result.architectures == {"gpt2": "gpt2", "grouped": "llama"}
    ratio = by_hand["grouped"] / by_hand["gpt2"]
    np.testing.assert_allclose(result.relative.sel(model="grouped")[:2], ratio)
    np.testing.assert_allclose(result.relative.sel(model="gpt2")[:2], 1)


def test_half_precision_takes_half(model, task):
    whole = cache_sizes(model, task, others=[], lengths=[8], n=1)
    half = cache_sizes(model.to(torch.bfloat16), task, others=[], lengths=[8], n=1)
    assert float(half.measured[0, 0, 0]) == float(whole.measured[0, 0, 0]) / 2
    assert half.agree == {"gpt2": True}


def test_a_cache_that_is_not_the_formula_is_said(model, task):
    """Attention that forgets, in a model whose formula says that it does not."""
    for block in model.blocks:
        block.attn.span = Window(4)
    result = cache_sizes(model, task, others=[], lengths=[2, 10], n=2)
    held = result.measured.sel(estimate="mean", model="gpt2")
    np.testing.assert_array_equal(held, 2 * 3 * 32 * 4 * np.array([2, 3]))
    assert result.agree == {"gpt2": False}
    assert "They disagree for gpt2." in cache_sizes_figure(result).caption


def test_the_interval_is_of_prompts_where_they_differ(model, task, monkeypatch):
    """A cache that holds what depends on the tokens."""

    class Some(GrowingMemory):
        kept = 0

        def extend(self, k, v):
            self.kept += int(k.sum() > 0) * 100
            return super().extend(k, v)

        @property
        def nbytes(self):
            return self.kept

    for block in model.blocks:
        monkeypatch.setattr(block, "new_memory", Some)
    result = cache_sizes(model, task, others=[], lengths=[12], n=4)
    mean, low, high = (float(result.measured[i, 0, 0]) for i in range(3))
    assert low < mean < high
    assert cache_sizes(model, task, others=[], lengths=[12], n=4).measured.identical(
        result.measured
    )
    other = cache_sizes(model, task, others=[], lengths=[12], n=4, seed=9)
    assert float(other.measured[0, 0, 0]) != mean


def test_names_are_loaded_and_left_out_ones_are_named(model, task):
    result = cache_sizes(model, task, others=["acronyms-gpt2", "planted-memory"], lengths=[4], n=1)
    assert list(result.measured.model.values) == ["gpt2", "acronyms-gpt2", "planted-memory"]
    assert result.architectures["planted-memory"] == "plain" and result.left_out == ()


def test_every_bundled_model_by_default(model, task):
    result = cache_sizes(model, task, lengths=[2], n=1)
    named = {*result.measured.model.values, *result.left_out}
    assert named == {"gpt2", *(entry.name for entry in bundled_models())}
    assert all(result.agree.values())


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: spec.name)
def test_every_architecture_is_measured_or_refused(spec, task):
    config = next(c for name, c in spec.presets.items() if name.startswith("tiny"))
    each = spec.build(config)
    if not each.capabilities.incremental:
        with pytest.raises(UnsupportedHookError):
            cache_sizes(each, task, others=[], lengths=[3, 17], n=1)
        return
    result = cache_sizes(each, task, others=[], lengths=[3, 17], n=1)
    assert list(result.agree.values()) == [True]


def test_the_figure_shows_what_was_measured(model, task, grouped):
    result = cache_sizes(model, task, others=[grouped], lengths=[5, 20, 100], n=2)
    measured, formula, in_all, table = cache_sizes_figure(result).panels
    assert isinstance(measured, Lines) and isinstance(formula, Lines) and isinstance(in_all, Lines)
    assert list(measured.x) == [5, 20] and list(formula.x) == list(in_all.x) == [5, 20, 100]
    assert measured.y_scale == formula.y_scale == in_all.y_scale == "log"
    np.testing.assert_array_equal(in_all.series[1].values, result.formula.sel(model="grouped"))
    assert isinstance(table, Table)
    assert table.rows[0] == ("gpt2", "20", "768", "768", "1.00")
    assert table.rows[1] == ("grouped", "20", "480", "480", "0.62")


def test_the_spec_runs_on_whatever_is_bundled():
    spec = load_spec("caches")
    (step,) = checked_steps(spec)
    assert step.function is cache_sizes and not dict(step.params)
    assert spec.model.name in [entry.name for entry in bundled_models()]


def test_refusals(model, task):
    both_ways = Plain(PLAIN.presets["tiny-both-ways"])
    with pytest.raises(UnsupportedHookError, match="keeps nothing .* gpt2, llama"):
        cache_sizes(both_ways, task, others=[])
    with pytest.raises(UnsupportedHookError, match="'plain' keeps nothing"):
        cache_sizes(model, task, others=[both_ways])
    for bad in ({"lengths": [0]}, {"lengths": []}, {"n": 0}):
        with pytest.raises(TaskError, match="at least 1"):
            cache_sizes(model, task, others=[], **bad)
    with pytest.raises(TaskError, match=r"'gpt2' \(48 tokens\)"):
        cache_sizes(model, task, others=[], lengths=[49])
    with pytest.raises(TaskError, match="called 'gpt2'"):
        cache_sizes(model, task, others=[GPT2(model.config)])
