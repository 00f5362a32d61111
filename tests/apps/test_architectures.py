"""Tables, comparison, cards and parts of models; nothing is loaded but what a job measures."""

import time

import numpy as np
import pytest

from apps.common.text import plain
from mechbench.experiments.catalogue import bundled_entries
from mechbench.experiments.model_comparison import model_comparison
from mechbench.models.bundled import models_folder
from mechbench.models.registry import VARIANTS
from mechbench.results.store import RunStore

TWO = {"models": "mixed-gpt2,mixed-mod"}


def test_all_models_and_architectures_are_listed_and_none_is_loaded(page, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("mechbench.models.bundled.fill", refuse)
    shown = page(tmp_path, "architectures")
    assert not shown.exception and not shown.error and not shown.warning
    models, scores, variants = (frame.value for frame in shown.dataframe[:3])
    entries = bundled_entries()
    assert list(models["model"]) == [entry["name"] for entry in entries]
    assert list(models["parameters"]) == [entry["parameters"] for entry in entries]
    assert list(variants["name"]) == [spec.name for spec in VARIANTS]
    mixed = [entry for entry in entries if entry["corpus"] == "mixed"]
    assert len(scores) == sum(len(entry["tasks"]) for entry in mixed)
    row = scores[(scores["model"] == "mixed-mod") & (scores["task"] == "induction")].iloc[0]
    assert row["accuracy"] == pytest.approx(0.97057, abs=1e-5) and row["answers scored"] == 12302
    assert any("no published numbers" in c.value for c in shown.caption)


def test_a_link_restores_the_comparison_and_the_script_gives_the_same(page, tmp_path):
    shown = page(tmp_path, "architectures", **TWO, card="twohop", tasks="two_hop")
    assert not shown.exception and not shown.error and not shown.warning
    (script,) = [c.value for c in shown.code if "model_comparison(" in c.value]
    names: dict = {}
    exec(script, names)
    found, expected = names["comparison"], model_comparison(["mixed-gpt2", "mixed-mod"])
    for name, array in expected.field_arrays().items():
        np.testing.assert_array_equal(found.field_arrays()[name], array)
    (configs,) = [f.value for f in shown.dataframe if "differs" in f.value.columns]
    marked = set(configs.index[configs["differs"] == "≠"])
    assert marked == set(expected.differing()) and "routed_layers" in marked
    assert "n_layers" not in marked
    text = (models_folder() / "twohop" / "card.md").read_text(encoding="utf-8")
    assert text.strip() in [m.value.strip() for m in shown.markdown]
    edges = {metric.label: metric.value for metric in shown.metric}
    assert int(edges["Edges"].replace(",", "")) > 100
    assert set(shown.dataframe[1].value["task"]) >= {"one_hop", "id_test"}


def test_numbers_with_intervals_stand_on_the_page(page, tmp_path):
    shown = page(tmp_path, "architectures", models="mcq-anchored,mcq-uniform")
    assert not shown.exception and not shown.error
    (measured,) = [f.value for f in shown.dataframe if "low" in f.value.columns]
    assert {"value", "high", "n", "command"} <= set(measured.columns) and len(measured) > 10


@pytest.mark.parametrize(
    ("bad", "warnings"),
    [({"models": "gpt9"}, 1), ({"card": "../../etc/passwd"}, 1), ({"tasks": "x", "run": "y"}, 2)],
)
def test_bad_parameters_are_told_and_replaced(page, tmp_path, bad, warnings):
    shown = page(tmp_path, "architectures", **bad)
    assert not shown.exception and not shown.error
    assert len(shown.warning) == warnings


def test_one_model_is_nothing_to_compare_and_too_many_do_not_fit(page, tmp_path):
    shown = page(tmp_path, "architectures", models="mixed-mod")
    assert not shown.exception and not shown.error and "two models" in shown.info[0].value
    every = ",".join(entry["name"] for entry in bundled_entries())
    shown = page(tmp_path, "architectures", models=every)
    assert not shown.exception and "at most 12" in shown.error[0].value


def test_caches_are_measured_as_a_job(page, tmp_path):
    shown = page(tmp_path, "architectures", models="twohop,mixed-gpt2-1")
    (button,) = [b for b in shown.button if b.label == "Measure the caches"]
    button.click().run()
    assert not shown.exception and not shown.error
    run_id = shown.query_params["run"]
    for _ in range(900):
        status = RunStore(tmp_path).open(run_id).status()
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert status.state == "finished", status
    shown.run()
    assert not shown.exception and not shown.error
    assert plain("What generation keeps in memory") in [s.value for s in shown.subheader]
