"""Rings against weights cut by hand, and sub-models against the dense models that they are."""

import numpy as np
import pytest
import torch

from mechbench.analyses import mlp_rings as module
from mechbench.analyses.common.granularity_choice import chosen_submodels
from mechbench.analyses.direct_attribution import direct_attribution
from mechbench.analyses.mlp_rings import mlp_rings
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.figures.mlp_rings import mlp_rings_figure
from mechbench.figures.render_mpl import to_mpl
from mechbench.models.loading import load_model
from mechbench.models.matformer_slices import sliced
from mechbench.models.variants.gpt2 import GPT2
from mechbench.models.variants.gpt2 import TINY as PLAIN
from mechbench.models.variants.matformer import SPEC, MatFormer
from mechbench.results.direct_attribution import COMPONENT
from mechbench.results.io import load_result
from mechbench.results.mlp_rings import FALLING, RISING, UNIFORM
from mechbench.tasks.induction import induction
from tests.analyses.reading_models import numbers
from tests.conformance.conftest import loud

WIDTHS = SPEC.presets["tiny"].widths


@pytest.fixture(scope="module")
def model():
    return loud(MatFormer(SPEC.presets["tiny"])).double()


@pytest.fixture(scope="module")
def task(model):
    return numbers(model)


@pytest.fixture(scope="module")
def result(model, task):
    return mlp_rings(model, task, n_each=2, n_random=2)


def metric_of(model, task):
    """Mean over answers and prompts."""
    metric = task.metric()
    with torch.no_grad():
        return float(metric(model.answer_logits(task.clean, metric.positions, metric.vocab)).mean())


def test_sub_models_are_the_dense_models(model, task, result):
    pairs, names = task.pairs(), list(result.kind["submodel"].values[:4])
    assert names == [f"uniform {i}-{i}-{i}" for i in range(4)]
    with torch.no_grad():
        full = model(task.clean).log_softmax(-1)
    for i, name in enumerate(names):
        small = sliced(model, i)
        found = result.by_submodel.sel(submodel=name, estimate="mean")
        with torch.no_grad():
            logits, loss = small(task.clean, "both")
        log_probs = logits.log_softmax(-1)
        answers = torch.take_along_dim(logits, pairs.answer_positions[..., None], 1)
        hits = (answers.argmax(-1) == pairs.answers).double().mean()
        kl = torch.nn.functional.kl_div(log_probs, full, reduction="none", log_target=True)
        agreement = (log_probs.argmax(-1) == full.argmax(-1)).double().mean()
        expected = [metric_of(small, task), hits, loss, agreement, kl.sum(-1).mean()]
        np.testing.assert_allclose(found.values, [float(x) for x in expected], atol=1e-9)
        trained = sum(p.numel() for p in small.parameters())
        assert int(result.parameters.sel(submodel=name)) == trained
        assert int(result.neurons.sel(submodel=name)) == 3 * WIDTHS[i]


def test_nothing_depends_on_the_granularity_that_is_set(model, task, result):
    model.set_granularity((0, 1, 2))
    try:
        again = mlp_rings(model, task, n_each=2, n_random=2)
        assert model.granularities == (0, 1, 2)
    finally:
        model.set_granularity(3)
    for name in ("norm", "ablation", "by_submodel", "random_neurons", "dead"):
        np.testing.assert_allclose(
            getattr(again, name).values, getattr(result, name).values, atol=1e-9
        )


@pytest.mark.parametrize(("layer", "ring"), [(0, 0), (1, 3), (2, 1)])
def test_an_ablation_is_the_model_without_the_rings_weights(model, task, result, layer, ring):
    low, high = (0, *WIDTHS)[ring], WIDTHS[ring]
    before = model.blocks[layer].mlp.W_out.detach().clone()
    with torch.no_grad():
        model.blocks[layer].mlp.W_out[low:high] = 0
        without = metric_of(model, task)
        model.blocks[layer].mlp.W_out.copy_(before)
    expected = without - metric_of(model, task)
    found = result.ablation.sel(estimate="mean", layer=layer, ring=ring)
    assert float(found) == pytest.approx(expected, abs=1e-9)
    assert abs(expected) > 1e-3


def test_attributions_and_biases_sum_to_the_mlps(model, task, result):
    whole = direct_attribution(model, task, heads=False)
    saved = [block.mlp.b_out.detach().clone() for block in model.blocks]
    for layer, block in enumerate(model.blocks):
        out = whole.parts.sel({COMPONENT: f"mlp {layer}"}).mean()
        rings = result.attribution.sel(estimate="mean", layer=layer).sum()
        # what is left is the bias's part, which is the same whatever the rings write
        with torch.no_grad():
            scale = model.run_with_cache(task.clean)[1]["ln_final.hook_scale"]
            metric = task.metric()
            vocab = model.W_U[:, metric.vocab]
            correct = vocab.T[metric.correct]
            onto = (correct - vocab.T[metric.wrong[..., 0]]) * model.ln_final.w
            centred = saved[layer] - saved[layer].mean()
            at = torch.take_along_dim(scale, metric.positions[..., None], 1)
            bias = float(((onto @ centred) / at[..., 0]).mean())
        assert float(out) == pytest.approx(float(rings) + bias, abs=1e-9)
        assert abs(bias) > 1e-3, block


def test_neurons_that_nothing_drives_are_dead(task):
    model = loud(MatFormer(SPEC.presets["tiny"])).double()
    with torch.no_grad():
        model.blocks[1].mlp.b_in[[3, 12, 14]] = -1e3
        model.blocks[2].mlp.b_in[20:] = 1e3
    found = mlp_rings(model, task, n_each=0, n_random=1)
    dead, active = found.dead.values, found.active.values
    assert dead[1, 0] >= 1 / 5 and dead[1, 2] >= 2 / 10
    assert dead[2, 3] == 0 and active[2, 3] == 1
    with torch.no_grad():
        pre = model.run_with_cache(task.clean)[1]["blocks.1.mlp.hook_pre"]
    assert dead[1, 2] == pytest.approx(float((pre[..., 10:20] <= 0).all(0).all(0).double().mean()))


def test_random_neurons_of_full_width_are_the_full_model(result):
    full = result.by_submodel.sel(estimate="mean").isel(submodel=3)
    random = result.random_neurons.sel(estimate="mean").isel(submodel=3)
    np.testing.assert_allclose(random.values, full.values, atol=1e-9)
    narrow = result.random_neurons.isel(submodel=0).sel(estimate="mean")
    assert abs(narrow - result.by_submodel.isel(submodel=0).sel(estimate="mean")).max() > 1e-2


def test_which_sub_models_are_chosen():
    chosen = chosen_submodels(4, 3, 5, seed=0)
    by_kind: dict = {}
    for kind, one in chosen:
        by_kind.setdefault(kind, []).append(one)
    assert by_kind[UNIFORM] == [(i,) * 4 for i in range(3)]
    steps = {kind: {b - a for one in by_kind[kind] for a, b in zip(one, one[1:], strict=False)}
             for kind in (RISING, FALLING)}  # fmt: skip
    assert steps == {RISING: {0, 1}, FALLING: {0, -1}}
    assert len(chosen) == len({one for _, one in chosen}) == 3 + 3 * 5
    assert chosen == chosen_submodels(4, 3, 5, seed=0) != chosen_submodels(4, 3, 5, seed=1)
    assert len(chosen_submodels(2, 2, 50, seed=0)) == 4  # all that there are
    assert len(chosen_submodels(24, 4, 3, seed=0)) == 4 + 9


def test_the_figure_and_the_file(result, tmp_path):
    result.save(tmp_path)
    loaded = load_result(tmp_path)
    assert loaded.identical(result)
    spec = mlp_rings_figure(loaded)
    assert spec.name == "mlp-rings" and "4 prompts" in spec.caption and "interval" in spec.caption
    to_mpl(spec, "text")


def test_other_models_are_refused(task):
    with pytest.raises(UnsupportedHookError, match="architectures: matformer"):
        mlp_rings(GPT2(PLAIN), task)


@pytest.mark.parametrize("options", [{"n_random": 0}, {"n_each": -1}])
def test_bad_options(model, task, options):
    with pytest.raises(TaskError, match="at least"):
        mlp_rings(model, task, **options)


@torch.inference_mode()
def test_the_first_neurons_of_the_bundled_matformer_are_the_useful_ones():
    """An eighth of each MLP answers as well as the whole; as many random neurons answer nothing."""
    model = load_model("mixed-matformer")
    task = induction(model.tokenizer, n=16, half_length=12)
    work = module._Work(model, task, 1, 0)
    layers = range(model.cfg.n_layers)
    small = work.run(work.of([0] * len(layers))).accuracy.mean()
    random = [work.only(layer, work.neurons(work.widths[0])) for layer in layers]
    assert small > 0.95 and work.full.accuracy.mean() > 0.95
    assert work.run(work.everything() + random).accuracy.mean() < 0.1
