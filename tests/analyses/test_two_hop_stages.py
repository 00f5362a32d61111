"""Stages of two-hop queries from the analyses that they are made of."""

import numpy as np
import pytest

from mechbench.analyses.attention_knockout import attention_knockout
from mechbench.analyses.entity_description import entity_description
from mechbench.analyses.sublayer_projection import sublayer_projection
from mechbench.analyses.two_hop_stages import _stages, two_hop_stages
from mechbench.errors import TaskError
from mechbench.figures.two_hop_stages import two_hop_stages_figure
from mechbench.results.io import load_result
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import WORLD
from tests.analyses.two_hop_models import answerable, query, tiny_gpt2


@pytest.fixture(scope="module")
def model():
    return tiny_gpt2()


@pytest.fixture(scope="module")
def task(model):
    return answerable(model, 16)


def test_events_are_those_of_the_analyses(model, task):
    options = {"labels": "argmax"}
    stages = two_hop_stages(
        model, task, prompt="lens", decoding="argmax", method="argmax", window=1, **options
    )
    described = entity_description(model, task, prompt="lens", method="argmax", **options)
    knocked = attention_knockout(
        model, task, pairs=[("t2", "t1")], window=1, method="argmax", **options
    )
    written = sublayer_projection(model, task, **options)
    expected = [
        described.first.sel(where="t1", entity="e2"),
        knocked.first.sel(pair="t2 to t1"),
        written.first.sel(sublayer="attention", reading="e2"),
        described.first.sel(where="t2", entity="e2"),
        described.first.sel(where="t2", entity="e3"),
        written.first.sel(sublayer="mlp", reading="prediction"),
    ]
    np.testing.assert_array_equal(stages.events.values, np.stack(expected))
    middle = stages.events.values[1:4]
    for i in range(middle.shape[1]):
        there = [v for v in middle[:, i] if v == v]
        found = stages.layers.values[1, i]
        assert (found == pytest.approx(np.mean(there))) if there else np.isnan(found)
    for group in stages.counts:
        rows = stages.layers.values[:, stages.sets.values == group]
        detected = stages.detected.sel(group=group, estimate="mean").values
        np.testing.assert_allclose(detected, (~np.isnan(rows)).mean(1))
        for s, row in enumerate(rows):
            mean = float(stages.mean.sel(group=group, estimate="mean")[s])
            assert (mean == pytest.approx(np.nanmean(row))) if detected[s] else np.isnan(mean)


def test_missing_events_are_left_out_of_the_mean():
    nan = np.nan
    events = np.array([[1, nan], [2, nan], [4, nan], [nan, nan], [5, nan], [6, 0]])
    np.testing.assert_array_equal(_stages(events), [[1, nan], [3, nan], [5, nan], [6, 0]])


def test_figure_and_storage(model, task, tmp_path):
    counts = []
    result = two_hop_stages(
        model, task, labels=None, prompt="lens", decoding="argmax", method="argmax",
        progress=lambda d, n: counts.append((d, n)), checkpoint=tmp_path / "steps",
    )  # fmt: skip
    assert counts[-1][0] == counts[-1][1] and result.counts == {"all": 16}
    boxes, bars = two_hop_stages_figure(result).panels
    assert boxes.groups == bars.groups and len(bars.series) == 2
    there = result.layers.values[0][~np.isnan(result.layers.values[0])]
    if len(there):
        assert boxes.series[0].values[0] == pytest.approx(np.median(there))
    assert load_result(result.save(tmp_path / "kept")).identical(result)


def test_no_query_in_either_set(model):
    facts = [query(i, i % 4, (i + 5) % 12, (i + 1) % 4, (i + 7) % 12) for i in range(6)]
    wrong = two_hop_task(model.tokenizer, facts, templates=WORLD)
    with pytest.raises(TaskError, match="None of the 6 queries .* first_hop"):
        two_hop_stages(
            model, wrong, labels="argmax", prompt="lens", decoding="argmax", method="argmax"
        )
