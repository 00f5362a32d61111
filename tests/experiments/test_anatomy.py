"""A model's parts without its weights are those of the loaded model."""

import pytest
import torch

from mechbench.experiments.anatomy import anatomy, folder_anatomy
from mechbench.graphs.wiring import wire
from mechbench.models.bundled import models_folder
from mechbench.models.loading import load_model
from mechbench.models.registry import VARIANTS


@pytest.mark.parametrize("name", ["mixed-mod", "mixed-deepseek-v2", "mixed-lory", "acronyms-gpt2"])
def test_parts_are_those_of_the_loaded_model(name):
    found = folder_anatomy(models_folder() / name)
    model = load_model(name)
    graph = wire(model).graph
    assert found is not None and found.n_edges == graph.n_edges == len(graph.edge_names)
    assert list(found.writers) == [w.name for w in graph.writers]
    assert list(found.readers) == [r.name for r in graph.readers]
    listed = [
        point.name.replace("{layer}", str(layer))
        for point in found.hooks
        for layer in (point.layers or [""])
    ]
    assert sorted(listed) == sorted(model.hook_dict) and found.n_hooks == len(listed)
    routed = {"mixed-mod": (1, 3)}.get(name, ())
    experts = {"mixed-deepseek-v2": (1, 2, 3), "mixed-lory": (0, 1, 2, 3)}.get(name, ())
    assert (found.routed, found.experts) == (routed, experts)


def test_axes_have_as_many_words_as_the_tensors_have_axes():
    found = folder_anatomy(models_folder() / "mixed-mod")
    model = load_model("mixed-mod")
    with torch.no_grad():
        cache = model.run_with_cache(torch.zeros(2, 5, dtype=torch.long))[1]
    assert found is not None
    for point in found.hooks:
        name = point.name.replace("{layer}", str((point.layers or [0])[0]))
        if name in cache:
            assert len(point.axes.split()) == cache[name].dim(), name


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: spec.name)
def test_every_architecture_has_parts(spec):
    config = next(c for name, c in spec.presets.items() if name.startswith("tiny"))
    found = anatomy(spec, config)
    assert found.n_hooks > 10 and all(point.axes for point in found.hooks)
    assert (found.n_edges > 0) == (not found.no_graph)


def test_a_folder_of_another_kind_has_none(tmp_path):
    assert folder_anatomy(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert folder_anatomy(tmp_path) is None
