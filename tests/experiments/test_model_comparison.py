"""What is compared is what stands on the cards and what the formulas say."""

import json

import numpy as np
import pytest

from mechbench.errors import MechbenchError, ModelNotFoundError, SpecError
from mechbench.experiments.model_comparison import model_comparison
from mechbench.figures.model_comparison import model_comparison_figure
from mechbench.figures.spec import Heatmap, Lines, Points
from mechbench.models.bundled import bundled_models, models_folder
from mechbench.models.cost import cache_bytes
from mechbench.models.loading import load_model
from mechbench.results.io import load_result
from tests.figures.style import check_pdf, check_stored

NAMES = ["mixed-gpt2", "mixed-mod", "twohop", "acronyms-gpt2"]


@pytest.fixture(scope="module")
def result():
    return model_comparison(NAMES, lengths=(1, 16, 32, 64))


def metrics(name):
    return json.loads((models_folder() / name / "metrics.json").read_text())


def test_scores_are_those_of_the_cards(result):
    for name, names in (("mixed-gpt2", "task"), ("mixed-mod", "task"), ("twohop", "set")):
        shipped = metrics(name)["seeds"][0]
        for i, task in enumerate(shipped[names]):
            at = {"model": name, "task": task}
            assert float(result.accuracy.sel(at)) == shipped["accuracy"][i]
            assert float(result.n_answers.sel(at)) == shipped["answers"][i]
            text = f"| {100 * shipped['accuracy'][i]:.2f}% |"
            assert text in (models_folder() / name / "card.md").read_text()
        mean = float(result.mean_accuracy.sel(model=name))
        assert mean == pytest.approx(np.mean(shipped["accuracy"]))
    beside = metrics("mixed-mod")["control"]["accuracy"]
    np.testing.assert_array_equal(result.control.sel(model="mixed-mod").dropna("task"), beside)
    assert np.isnan(result.accuracy.sel(model="mixed-mod", task="one_hop"))


def test_costs_are_those_of_the_cards_and_caches_those_of_the_models(result):
    for name in NAMES:
        cost = metrics(name).get("cost")
        at = {"model": name}
        assert int(result.parameters.sel(at)) == metrics(name)["parameters"]
        if cost is None:
            assert np.isnan(result.cache_per_token.sel(at))
        else:
            assert float(result.cache_per_token.sel(at)) == cost["cache_bytes_per_token"]
            assert float(result.flops_per_token.sel(at)) == cost["flops_per_token"]
            assert float(result.measured_at.sel(at)) == cost["n_tokens"]
    for name in ("mixed-gpt2", "twohop"):
        kept = float(result.cache.sel(model=name, length=16))
        assert kept == cache_bytes(load_model(name), 16)
    assert float(result.cache.sel(model="mixed-mod", length=16)) > cache_bytes(
        load_model("mixed-mod"), 16
    )
    assert result.bounds == ("mixed-mod",)
    assert np.isnan(result.cache.sel(model="twohop", length=64))  # its context is 32


def test_differences_of_configs():
    same = model_comparison(["mixed-gpt2", "mixed-ssa"])
    settings = same.settings()
    assert "n_layers" not in same.differing() and set(same.differing()) <= set(settings)
    own = {name for name, values in settings.items() if len(values) == 1}
    assert own and own <= set(same.differing())
    layers = model_comparison(["mixed-gpt2", "mixed-gpt2-1"])
    assert "n_layers" in layers.differing()
    assert model_comparison(["mixed-gpt2"]).differing() == ()


def test_the_result_is_stored_and_drawn(result, tmp_path):
    result.save(tmp_path)
    assert load_result(tmp_path).identical(result)
    figure = model_comparison_figure(result)
    points, lines, by_task = figure.panels
    assert isinstance(points, Points) and points.groups == ("mixed-gpt2", "mixed-mod", "twohop")
    np.testing.assert_array_equal(points.y, result.mean_accuracy.values[:3])
    np.testing.assert_array_equal(points.x, result.cache_per_token.values[:3])
    assert isinstance(lines, Lines) and len(lines.series) == 4
    assert isinstance(by_task, Heatmap)
    np.testing.assert_array_equal(by_task.values, result.accuracy)
    check_stored(figure)
    check_pdf(figure, "text")
    every = model_comparison([model.name for model in bundled_models()])
    with pytest.raises(MechbenchError, match="choose at most 12"):
        model_comparison_figure(every)
    assert "nan" not in figure.caption


def test_refusals():
    with pytest.raises(ModelNotFoundError, match="mixed-gpt2"):
        model_comparison(["mixed-gpt"])
    for names, lengths in (([], (1,)), (["twohop", "twohop"], (1,)), (["twohop"], (0,))):
        with pytest.raises(SpecError, match="name each model once"):
            model_comparison(names, lengths=lengths)
