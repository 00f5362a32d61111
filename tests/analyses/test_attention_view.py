"""Attention of one prompt, against the model's own cache."""

import numpy as np
import pytest

from mechbench.analyses.attention_view import attention_view
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.attention_view import attention_view_figure
from mechbench.models.variants import yoco
from tests.analyses.reading_models import Numerals, bridged, numbers


@pytest.mark.parametrize("run", ["clean", "corrupted"])
def test_against_the_models_cache(model, task, run):
    result = attention_view(model, task, layer=1, prompt=3, run=run)
    pairs = task.pairs()
    tokens = pairs.clean if run == "clean" else pairs.corrupt
    _, cache = model.run_with_cache(tokens)
    np.testing.assert_allclose(
        result.pattern, cache["blocks.1.attn.hook_pattern"][3].detach(), atol=1e-6
    )
    assert result.token_ids.values.tolist() == tokens[3].tolist()
    assert list(result.tokens.values) == [f"#{i}" for i in tokens[3].tolist()]
    assert result.heads == tuple(f"1.{h}" for h in range(model.cfg.n_heads))
    np.testing.assert_allclose(result.pattern.sum("key"), 1, atol=1e-5)


def test_the_figure_shows_the_heads_that_were_chosen(model, task):
    model.tokenizer = Numerals(model.cfg.d_vocab)
    result = attention_view(model, task, layer=2)
    assert len(attention_view_figure(result).panels) == model.cfg.n_heads
    (panel,) = attention_view_figure(result, heads=("2.1",)).panels
    np.testing.assert_array_equal(panel.values, result.pattern.sel(head="2.1"))
    assert panel.rows == tuple(str(i) for i in task.clean[0].tolist())


def test_bridged_models(tmp_path):
    model = bridged(tmp_path, "Llama")
    assert attention_view(model, numbers(model), layer=1).pattern.sizes["head"] == 4


def test_a_layer_without_a_pattern_is_refused_with_what_it_has():
    model = yoco.SPEC.build(yoco.SPEC.presets["tiny"], "tiny-yoco")
    task = numbers(model)
    with pytest.raises(UnsupportedHookError, match=r"retention.*form patterns: 2\."):
        attention_view(model, task, layer=0)
    assert attention_view(model, task, layer=2).pattern.sizes["head"] == model.cfg.n_heads


def test_refusals(model, task):
    for wrong in ({"layer": 9}, {"layer": -1}, {"prompt": 99}, {"prompt": -1}, {"run": "other"}):
        with pytest.raises(TaskError):
            attention_view(model, task, **wrong)
