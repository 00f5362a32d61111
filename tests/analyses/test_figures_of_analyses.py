"""Every analysis' result survives saving, and its figure draws what the result holds."""

from importlib import import_module

import numpy as np
import pytest

from mechbench.analyses.registry import ANALYSES
from mechbench.figures.spec import Bars, FigureSpec, Heatmap, Lines, Table
from mechbench.models.registry import VARIANTS
from mechbench.results.io import load_result
from tests.analyses.choice_models import choices, planted_model
from tests.analyses.two_hop_models import answerable, tiny_gpt2
from tests.conformance.conftest import loud
from tests.figures.style import check_caption, check_pdf, check_stored

_HEADS = ["1.1", "2.0"]
_BY_TOKEN = {"method": "argmax"}
_PARAMS = {
    "attention_histogram": {"heads": _HEADS},
    "circuit_evaluation": {"heads": _HEADS, "n_random": 2},
    "ov_copying": {"heads": _HEADS, "n_random": 3},
    "copy_scatter": {"heads": _HEADS},
    "position_swap": {"heads": _HEADS, "swaps": [[1, 3]]},
    "bos_swap": {"swaps": [[1, 3]]},
    "combined_swap": {"heads": _HEADS, "swaps": [[1, 3]], "n_random": 2},
    "circuit_search": {"n_random": 3},
    "circuit_formation": {"snapshots": [1, 2]},
    "circuit_curve": {"n_random": 2},
    "circuit_tests": {"n_random": 2, "n_subsets": 2},
    "circuit_faithfulness": {"n_random": 2},
    "circuit_agreement": {"other": _HEADS},
    "attention_span": {"half_lengths": [4, 12]},
    "pathways": {"kept": [0.3, 0.8], "n_draws": 2, "sizes": [1, 2]},
    "cache_sizes": {"others": []},
    "latent_attention": {"n": 4, "half_length": 5, "n_random": 3},
    "expert_load": {"on": "task", "n_shuffled": 2},
    "expert_interventions": {"on": "task", "n_random": 1},
    "expert_knockout": {"on": "task", "n_random": 1},
    "merged_experts": {"on": "task", "n_random": 5},
    "value_vector_update": {"n_random": 1, "sweep": [0.0, 4.0]},
    "edited_choices": {"neurons": ["2.7"], "n_random": 1},
    "attention_recalibration": {"counts": [2], "n_random": 1},
    "label_free_debiasing": {"lambdas": [1.0], "n_neurons": [1, 2], "n_random": 1},
    "edit_side_effects": {"others": {"induction": {"n": 4}}},
    "entity_description": _BY_TOKEN | {"prompt": "lens"},
    "attention_knockout": _BY_TOKEN | {"window": 1},
    "two_hop_stages": {
        "labels": "argmax",
        "method": "argmax",
        "prompt": "lens",
        "decoding": "argmax",
        "window": 1,
    },
    "hop_labels": {"method": "argmax"},
    "back_patching": {"method": "argmax"},
    "back_patched_text": {"method": "argmax"},
    "router_map": {"n_random": 2},
    "router_interventions": {"n_random": 2, "capacities": [0.2, 0.9]},
}


# Analyses of multiple-choice questions, whose model and prompts are their own.
_CHOICES = (
    "anchored_bias",
    "choice_lens",
    "value_vectors",
    "choice_heads",
    "value_vector_update",
    "edited_choices",
    "attention_recalibration",
    "label_free_debiasing",
    "edit_side_effects",
    "compare_choices",
)

# Analyses of two-hop queries, likewise; patchscope takes any task.
_HOPS = (
    "hop_labels",
    "entity_description",
    "attention_knockout",
    "sublayer_projection",
    "two_hop_stages",
    "back_patching",
    "back_patched_text",
)

# Analyses of what only some architectures have, and one that has it.
_INSPECTED = {analysis: spec for spec in VARIANTS for analysis in spec.inspections}


def tiny(spec):
    """The first tiny form of an architecture, with loud weights, called like the planted model."""
    config = next(c for name, c in spec.presets.items() if name.startswith("tiny"))
    return loud(spec.build(config, "gpt2"))


@pytest.fixture
def run(planted, make_task):
    def run_analysis(name):
        params = dict(_PARAMS.get(name, {}))
        if name == "circuit_formation":
            params["load"] = lambda step: planted
        function = getattr(import_module(ANALYSES[name]), name)
        if name in _CHOICES:
            task = choices(n=6, families=["attribute"], gold="not_first")
            return function(planted_model(), task, **params)
        if name in _HOPS:
            model = tiny_gpt2()
            return function(model, answerable(model, 6), **params)
        model = tiny(_INSPECTED[name]) if name in _INSPECTED else planted
        return function(model, make_task(n=6), **params)

    return run_analysis


@pytest.mark.parametrize("name", ANALYSES)
def test_result_and_figure(name, run, tmp_path):
    result = run(name)
    result.save(tmp_path)
    loaded = load_result(tmp_path)
    assert loaded.identical(result)
    spec = getattr(import_module(f"mechbench.figures.{name}"), f"{name}_figure")(loaded)
    assert isinstance(spec, FigureSpec) and spec.name == name.replace("_", "-")
    n = result.provenance.n_prompts
    assert n == (2 if name == "two_hop_stages" else 6)  # of the six, those in its sets
    assert spec.provenance["n_prompts"] == n
    check_caption(spec)
    check_stored(spec)
    check_pdf(spec, "text")
    assert "␠" not in spec.to_json()  # no font has it


def test_heat_maps_hold_the_means(run):
    result = run("residual_sweep")
    spec = import_module("mechbench.figures.residual_sweep").residual_sweep_figure(result)
    panel = spec.panels[1]
    assert isinstance(panel, Heatmap)
    expected = result.effect.sel(answer="letter 2").mean("prompt")
    np.testing.assert_allclose(panel.values, expected, atol=1e-6)
    assert panel.cols[2] == "C1" and panel.rows == ("0", "1", "2")


def test_attention_bars_hide_bos_and_show_one_deviation(run):
    result = run("attention_histogram")
    spec = import_module("mechbench.figures.attention_histogram").attention_histogram_figure(result)
    panel = spec.panels[0]
    assert isinstance(panel, Bars) and panel.groups[0] == "The" and "BOS" not in panel.groups
    one = panel.series[2]
    values = result.pattern.isel(head=0, answer=2).values[1:]
    np.testing.assert_allclose(one.values, values.mean(-1), atol=1e-6)
    np.testing.assert_allclose(one.high - one.values, values.std(-1, ddof=1), atol=1e-6)


def test_evaluation_lines_end_at_all_heads_given(run):
    result = run("circuit_evaluation")
    spec = import_module("mechbench.figures.circuit_evaluation").circuit_evaluation_figure(result)
    panel = spec.panels[0]
    assert isinstance(panel, Lines) and panel.x_labels == ("nothing", "+1.1", "+2.0")
    np.testing.assert_allclose(panel.series[0].values, result.values[:, :, 0].mean("prompt"))
    np.testing.assert_allclose(panel.references[0].value, result.full[:, 0].mean("prompt"))


def test_nothing_is_put_beside_published_numbers_of_another_model(run):
    spec = import_module("mechbench.figures.compare_published").compare_published_figure(
        run("compare_published")
    )
    assert "not comparable" in spec.caption and "untested on GPT-2 small" in spec.caption
    heads, cumulative, effects = spec.panels
    assert isinstance(heads, Table) and isinstance(cumulative, Table)
    assert ("GPT-2 small 8.11", "letter mover", "–") in heads.rows
    assert ("gpt2 1.1", "–", "letter mover") in heads.rows
    assert cumulative.rows[8][:3] == ("+1.0", "1.39", "–")
    assert all(row[-1] == "–" for row in effects.rows)


def test_a_checkpoint_folder_changes_nothing(planted, make_task, tmp_path):
    from mechbench.analyses.head_sweep import head_sweep

    plain = head_sweep(planted, make_task(n=4))
    for _ in range(2):  # the second time everything comes from the folder
        kept = head_sweep(planted, make_task(n=4), checkpoint=tmp_path / "chunks")
        assert kept.effect.identical(plain.effect)
    assert len(list((tmp_path / "chunks").iterdir())) == 18
