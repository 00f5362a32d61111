"""Rows of cards hold the numbers of results, and are what an exported card reads."""

import json
import subprocess
import sys

import pytest

from mechbench.analyses.anchored_bias import anchored_bias
from mechbench.experiments.card_measures import MEASURES, card_measures
from mechbench.results.run import start_run
from mechbench.training.measured import read_measured
from tests.analyses.choice_models import choices, planted_model

COMMAND = "mechbench run mcq_anchored"


@pytest.fixture(scope="module")
def result():
    return anchored_bias(planted_model(), choices(24, gold="not_first"), other_labels=())


def test_rows_are_the_results_numbers(result):
    rows = card_measures({"bias": result}, COMMAND)
    by_name = {row["what"]: row for row in rows}
    row = by_name["anchored rate, by any token"]
    rate = result.rates.sel(measure="anchored", argmax="any token", labels="A", set="all")
    assert [row["value"], row["low"], row["high"]] == rate.values.tolist()
    assert row["n"] == 24 and row["command"] == COMMAND
    # nobody measured prompts whose right option is the first, because there are none
    assert not any("gold first" in name for name in by_name)


def test_a_run_becomes_a_file_that_export_reads(result, tmp_path):
    run = start_run(tmp_path / "run", {"name": "x", "steps": [{"id": "bias"}]}, "hash")
    run.save_result("bias", result)
    out = tmp_path / "measured.json"
    module = "mechbench.experiments.card_measures"
    command = [sys.executable, "-m", module, str(run.path), "--out", str(out), "--command", COMMAND]
    subprocess.run(command, check=True)
    assert read_measured(out) == card_measures({"bias": result}, COMMAND)
    assert json.loads(out.read_text()) == read_measured(out)


def test_every_measured_type_is_a_result():
    assert MEASURES and all(kind.__name__ in kind.registry for kind in MEASURES)
