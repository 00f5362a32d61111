"""Half-lives and their worth against loops of single hooks, and on planted decays."""

import math

import numpy as np
import pytest
import torch

from mechbench.analyses.common.token_classes import token_classes
from mechbench.analyses.retention_decay import retention_decay
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.retention_decay import retention_decay_figure
from mechbench.figures.spec import Heatmap
from mechbench.models.variants.yoco import TINY_WINDOW, Yoco
from mechbench.results.retention_decay import CLASS
from tests.analyses.reading_models import numbers
from tests.analyses.retention_models import check_saved_and_drawn, retaining


@pytest.fixture(scope="module")
def model():
    return retaining()


@pytest.fixture(scope="module")
def task(model):
    return numbers(model)


@pytest.fixture(scope="module")
def result(model, task):
    return retention_decay(model, task, distances=[1, 3, 8], seed=4)


def log_decay(model, task, layer):
    name = f"blocks.{layer}.attn.hook_log_decay"
    with torch.no_grad():
        return model.run_with_cache(task.clean, names_filter=name)[1][name]


def test_a_planted_decay_has_its_half_life(task):
    """Weights that read a constant: one head halves every 7 tokens, another every 300."""
    model = retaining()
    with torch.no_grad():
        model.blocks[0].ln1.w.zero_()
        model.blocks[0].ln1.w[0] = 1.0
        model.W_E[:, 0] = 100.0
        model.W_E[:, 1:] = 0.0
        scale = 24**0.5  # what the norm makes of that
        for head, half_life in enumerate([1.0, 7.0, 50.0, 300.0]):
            rate = model.config.decay_divisor * math.log(2) / half_life
            odds = math.exp(-rate) / (1 - math.exp(-rate))
            model.blocks[0].attn.W_decay[0, head] = math.log(odds) / scale
    found = retention_decay(model, task, distances=[2])
    np.testing.assert_allclose(found.half_life[0, 0], [1, 7, 50, 300], rtol=1e-3)
    counts = found.histogram.sel(layer=0).values
    bins = [int(row.argmax()) for row in counts]
    for at, half_life in zip(bins, [1, 7, 50, 300], strict=True):
        low, high = found.edges.values[at : at + 2]
        assert low * 0.999 <= half_life <= high * 1.001
    assert (counts.sum(1) == task.clean.numel()).all()


def test_half_lives_are_those_of_the_mean_rate(model, task, result):
    for layer in (0, 1):
        rate = -log_decay(model, task, layer).mean((0, 1))
        np.testing.assert_allclose(result.half_life[0, layer], math.log(2) / rate, rtol=1e-10)
    low, mean, high = (result.half_life.sel(estimate=e).values for e in ("low", "mean", "high"))
    assert (low < mean).all() and (mean < high).all()
    assert list(result.by_class[CLASS].values) == ["without text"]
    np.testing.assert_allclose(result.by_class[0, 0], result.half_life[0])


@torch.no_grad()
def test_forgetting_is_a_cut_in_the_mask(model, task, result):
    """Against the mask of one head written by loops, in the loop form of the hook."""
    pairs, metric = task.pairs(), task.metric()
    base = metric(model.answer_logits(pairs.clean, metric.positions, metric.vocab)).mean(-1)
    np.testing.assert_allclose(result.base, base)
    for layer, head, distance in [(0, 2, 3), (1, 0, 1), (1, 3, 8)]:

        def cut(mask, hook, head=head, distance=distance):
            for query in range(mask.shape[2]):
                for key in range(mask.shape[3]):
                    if query - key >= distance:
                        mask[:, head, query, key] = 0
            return mask

        with model.hooks([(f"blocks.{layer}.attn.hook_decay_mask", cut)]):
            logits = model.answer_logits(pairs.clean, metric.positions, metric.vocab)
        expected = (metric(logits).mean(-1) - base).mean()
        found = result.forgotten.sel(layer=layer, head=head, distance=distance, estimate="mean")
        assert float(found) == pytest.approx(float(expected), abs=1e-9)
        assert abs(float(found)) > 1e-4 or distance == 8
    # a query has all but itself to forget at distance 1, so drawing at random is the same
    one = {"distance": 1, "estimate": "mean"}
    np.testing.assert_allclose(result.control.sel(one), result.forgotten.sel(one), atol=1e-12)
    three = {"distance": 3, "estimate": "mean"}
    assert abs(result.control.sel(three) - result.forgotten.sel(three)).max() > 1e-4


@torch.no_grad()
def test_ablation_is_by_the_corrupted_mean(model, task, result):
    pairs, metric = task.pairs(), task.metric()
    name = "blocks.1.attn.hook_z"
    mean = model.run_with_cache(pairs.corrupt, names_filter=name)[1][name].mean(0)

    def ablate(z, hook):
        z = z.clone()
        z[:, :, 2] = mean[:, 2]
        return z

    with model.hooks([(name, ablate)]):
        logits = model.answer_logits(pairs.clean, metric.positions, metric.vocab)
    expected = float(metric(logits).mean()) - float(result.base.mean())
    assert float(result.ablated[0].sel(layer=1, head=2)) == pytest.approx(expected, abs=1e-6)


def test_the_figure_shows_what_the_result_holds(result, tmp_path):
    spec = check_saved_and_drawn(result, "retention_decay", tmp_path)
    cuts = spec.panels[3]
    assert isinstance(cuts, Heatmap) and cuts.cols == ("1", "3", "8")
    assert cuts.rows[:5] == ("0.0", "0.1", "0.2", "0.3", "1.0")
    np.testing.assert_allclose(cuts.values[6], result.forgotten[0].sel(layer=1, head=2))
    assert "(shown)" in retention_decay_figure(result, control=True).caption


def test_progress_counts_to_the_end_and_distances_are_powers_of_two(model, task):
    seen = []
    found = retention_decay(model, task, progress=lambda done, of: seen.append((done, of)))
    assert found.forgotten.distance.values.tolist() == [1, 2, 4, 8]
    assert seen[-1] == (72, 72) and seen == sorted(seen)


class Words:
    """A tokenizer of a few words."""

    all_special_ids = (0,)
    texts = ("<s>", " A", "K", " lark", "Lark", "ark", "17", " (", "\n")

    def decode(self, ids):
        return "".join(self.texts[i] for i in ids)


def test_classes_of_tokens(model):
    model.tokenizer = Words()
    try:
        found = token_classes(model, torch.arange(9)[None])
    finally:
        model.tokenizer = None
    assert found[0].tolist() == [
        "special", "one capital", "one capital", "word", "word", "piece of a word", "number",
        "other signs", "other signs",
    ]  # fmt: skip


@pytest.mark.parametrize("distances", [[], [0], [2, 2], [13]])
def test_impossible_distances(model, task, distances):
    with pytest.raises(TaskError, match="below the 13 tokens"):
        retention_decay(model, task, distances=distances)


def test_a_model_without_retention_is_refused(task):
    with pytest.raises(UnsupportedHookError, match="no retention, .* architectures: yoco"):
        retention_decay(Yoco(TINY_WINDOW), task)
