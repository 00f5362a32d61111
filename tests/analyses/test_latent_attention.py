"""Latent attention taken apart: loops, identities, and heads whose parts are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechbench.analyses.common.attention_kinds import attention_to, wanted_keys
from mechbench.analyses.common.latent_circuits import effective_rank, singular_values
from mechbench.analyses.head_scores import head_scores
from mechbench.analyses.latent_attention import latent_attention
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.latent_attention import latent_attention_figure
from mechbench.models.variants.deepseek_v2 import TINY, TINY_GREEDY, DeepseekV2
from mechbench.results.io import load_result
from mechbench.results.latent_attention import OTHER_PROMPT, QK, LatentAttention
from mechbench.tasks.induction import induction
from tests.conformance.conftest import loud

N = 4


@pytest.fixture
def task():
    return induction(None, n=N, half_length=5, vocab=101, bos=0)


@pytest.fixture(params=[TINY, TINY_GREEDY], ids=["compressed", "direct"])
def model(request):
    made = loud(DeepseekV2(replace(request.param, n_layers=2))).double()
    with torch.no_grad():
        for block in made.blocks:
            block.attn.W_KR.mul_(3)
        made.blocks[0].attn.W_UQ[0] = 0  # head 0.0 knows positions alone
        made.blocks[1].attn.W_QR[1] = 0  # head 1.1 knows content alone
    return made


@pytest.fixture
def result(model, task):
    return latent_attention(model, task, on="task", n_random=4)


def metric_of(model, task, hooks):
    metric = task.metric()
    with torch.inference_mode(), model.hooks(hooks):
        return metric(model.answer_logits(task.clean, metric.positions, metric.vocab)).mean(-1)


def test_shares_of_variance_by_loops(model, task, result):
    with torch.no_grad():
        cache = model.run_with_cache(task.clean)[1]
    for layer, head in ((0, 1), (1, 0)):
        sums = np.zeros(3)
        for prompt in range(N):
            for q in range(task.clean.shape[1]):
                c, p = (
                    cache[f"blocks.{layer}.attn.hook_scores_{part}"][prompt, head, q, : q + 1]
                    for part in ("content", "rope")
                )
                (var_c, cov), (_, var_p) = np.cov(c, p, bias=True)
                sums += [var_c, var_p, 2 * cov]
        found = result.variance.sel(estimate="mean", layer=layer, head=head)
        np.testing.assert_allclose(found, sums / sums.sum(), atol=1e-10)


def test_a_head_without_one_part(result):
    shares = result.variance.sel(estimate="mean")
    assert float(shares.sel(layer=0, head=0, part="position")) == pytest.approx(1)
    assert float(shares.sel(layer=1, head=1, part="content")) == pytest.approx(1)
    for layer, head, absent, present in (
        (0, 0, "content", "position"),
        (1, 1, "position", "content"),
    ):
        effect = result.effect.sel(estimate="mean", layer=layer, head=head)
        assert np.abs(effect.sel(part=absent)).max() < 1e-12
        assert abs(float(effect.sel(part=present, change="levelled"))) > 1e-3
        both = effect.sel(part="both", change="levelled")
        np.testing.assert_allclose(both, effect.sel(part=present, change="levelled"), atol=1e-12)
        alone = result.attention.sel(estimate="mean", layer=layer, head=head)
        np.testing.assert_allclose(alone.sel(form=present), alone.sel(form="whole"), atol=1e-12)


def test_attention_of_the_whole_score_is_that_of_the_pattern(model, task, result):
    expected = attention_to(model, task.clean, wanted_keys(task.clean))[0].mean(1)
    found = result.attention.sel(form="whole", estimate="mean")
    np.testing.assert_allclose(found, expected, atol=1e-10)
    corrupt = task.pairs().corrupt
    expected = attention_to(model, corrupt, wanted_keys(task.clean))[0].mean(1)
    found = result.control.sel(form="whole", estimate="mean")
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_levelled_parts_by_other_means(model, task, result):
    """A level part says what no part says; both level give even attention."""

    def silent(value, hook):
        value = value.clone()
        value[:, 1] = 0
        return value

    def even(value, hook):
        value = value.clone()
        seen = torch.ones_like(value[:, 1]).tril()
        value[:, 1] = seen / seen.sum(-1, keepdim=True)
        return value

    base = metric_of(model, task, [])
    np.testing.assert_allclose(result.clean.sel(estimate="mean"), base.mean(), atol=1e-10)
    ways = {
        "content": ("blocks.0.attn.hook_scores_content", silent),
        "position": ("blocks.0.attn.hook_scores_rope", silent),
        "both": ("blocks.0.attn.hook_pattern", even),
    }
    for part, hook in ways.items():
        expected = (metric_of(model, task, [hook]) - base).mean()
        found = result.effect.sel(part=part, change="levelled", layer=0, head=1, estimate="mean")
        assert float(found) == pytest.approx(float(expected), abs=1e-10)
        assert abs(expected) > 1e-4
    everywhere = [
        (f"blocks.{layer}.attn.hook_scores_rope", lambda v, hook: torch.zeros_like(v))
        for layer in range(2)
    ]
    expected = (metric_of(model, task, everywhere) - base).mean()
    found = result.effect_of_all.sel(part="position", change="levelled", estimate="mean")
    assert float(found) == pytest.approx(float(expected), abs=1e-10)


def test_parts_of_another_prompt(model, task, result):
    with torch.no_grad():
        cache = model.run_with_cache(task.clean)[1]
    name = "blocks.1.attn.hook_scores_content"
    other = cache[name][[3, 0, 1, 2], 0]

    def swap(value, hook):
        value = value.clone()
        value[:, 0] = other
        return value

    expected = (metric_of(model, task, [(name, swap)]) - metric_of(model, task, [])).mean()
    found = result.effect.sel(part="content", change=OTHER_PROMPT, layer=1, head=0, estimate="mean")
    assert float(found) == pytest.approx(float(expected), abs=1e-10)
    # In the first layer one head sees positions alone, and those are alike in all prompts ...
    swapped = result.effect.sel(change=OTHER_PROMPT, layer=0, head=0, part="content")
    assert np.abs(swapped).max() < 1e-12
    # ... but turned queries and keys also know their tokens.
    assert abs(float(found)) > 1e-4


def test_spectra_are_those_of_whole_matrices(model, result):
    for layer, head in ((0, 1), (1, 2)):
        attn = model.blocks[layer].attn
        pairs = {
            "QK": attn.W_UQ[head] @ attn.W_UK[head].T,
            "OV": attn.W_UV[head] @ attn.W_O[head],
        }
        for circuit, matrix in pairs.items():
            found = result.singular.sel(circuit=circuit, layer=layer, head=head).values
            found = found[~np.isnan(found)]
            assert len(found) == min(result.widths[circuit])
            expected = torch.linalg.svdvals(matrix.detach())
            np.testing.assert_allclose(found, expected[: len(found)], atol=1e-9)
            shares = found / found.sum()
            rank = np.exp(-(shares * np.log(shares)).sum())
            found = result.rank.sel(circuit=circuit, layer=layer, head=head)
            assert float(found) == pytest.approx(rank)
    # loud weights are Gaussian, so they lie where the control lies
    low, high = (result.rank_control.sel(circuit=QK, estimate=e) for e in ("low", "high"))
    inside = result.rank.sel(circuit=QK, layer=1)
    assert float(low) - 0.5 < float(inside.mean()) < float(high) + 0.5


def test_effective_rank_of_what_is_known():
    assert effective_rank(torch.ones(7)) == pytest.approx(7)
    assert effective_rank(torch.tensor([3.0, 0.0, 0.0])) == pytest.approx(1)
    wide = singular_values(torch.eye(3, 8), torch.eye(8, 3))
    torch.testing.assert_close(wide, torch.ones(3))


def test_random_prompts_and_the_figure(model, task, tmp_path):
    result = latent_attention(model, task, n=3, half_length=6, n_random=2)
    assert result.prompts == "3 prompts of 12 tokens of induction"
    result.save(tmp_path)
    loaded = load_result(tmp_path)
    assert isinstance(loaded, LatentAttention) and loaded.identical(result)
    spec = latent_attention_figure(loaded)
    assert [panel.title for panel in spec.panels[6:9]] == [
        "content, share of variance",
        "content levelled",
        "position levelled",
    ]
    np.testing.assert_allclose(
        spec.panels[7].values, result.effect.sel(estimate="mean", change="levelled", part="content")
    )
    other = latent_attention_figure(loaded, change=OTHER_PROMPT)
    assert "from another prompt" in other.caption and other.panels[7].title.endswith("prompt")


def test_what_it_cannot_do(make_model, model, task):
    with pytest.raises(UnsupportedHookError, match="architectures: deepseek-v2"):
        latent_attention(make_model(), task)
    with pytest.raises(UnsupportedHookError, match="has W_Q, W_K and W_V of its own"):
        head_scores(model, task)
    with pytest.raises(TaskError, match="on='elsewhere' is not known"):
        latent_attention(model, task, on="elsewhere")
    with pytest.raises(TaskError, match="n_random=1"):
        latent_attention(model, task, n_random=1)
