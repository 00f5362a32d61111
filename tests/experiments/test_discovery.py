"""The experiment behind ``mechbench discover``, on planted circuits, whose edges are known."""

import csv

import pytest

from mechbench.errors import TaskError
from mechbench.experiments.discovery import METHODS, discovery_spec
from mechbench.experiments.runner import run_experiment
from mechbench.experiments.saved import saved_results
from mechbench.experiments.spec import parse_spec
from mechbench.experiments.steps import checked_steps
from mechbench.experiments.summary import headline, summary_tables
from mechbench.planted.registry import PLANTED
from mechbench.results.circuit_tests import CircuitTests
from mechbench.results.store import RunStore
from tests.small_experiment import write_tiny_model

NAME = "planted-induction"


def discovered(folder, **options):
    data = discovery_spec(NAME, NAME, n=8, n_held_out=4, **options)
    for step in data["steps"]:
        if step["analysis"] == "circuit_tests":
            step["params"] |= {"n_random": 5, "n_subsets": 2}
        if step["analysis"] == "circuit_curve":
            step["params"] |= {"n_random": 2}
    spec = parse_spec({**data, "outputs": {"formats": ["svg"]}}, origin="The spec")
    return saved_results(run_experiment(spec, RunStore(folder)))


@pytest.mark.parametrize("method", ["eap-ig", "exact", "acdc"])
def test_the_planted_edges_are_found_and_tested_on_other_prompts(tmp_path, method):
    results = discovered(tmp_path, method=method)
    true = PLANTED[NAME]().edges
    circuit = results["circuit"]
    assert isinstance(circuit, CircuitTests)
    assert set(circuit.edges) == true
    assert circuit.held_out and circuit.provenance.n_prompts == 4
    assert (circuit.provenance.task_seed, results["scores"].provenance.task_seed) == (1, 0)
    tables, lines = summary_tables(results), headline(results)
    assert len(tables) == 1 and {row[0] for row in tables[0].rows} == true
    faithfulness = [line for line in lines if line.startswith("Faithfulness")]
    assert len(faithfulness) == 1 and "1.00 [" in faithfulness[0]
    assert "4 prompts that did not choose it" in faithfulness[0]
    assert any("CPR" in line and "random" in line for line in lines)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_valid_spec(method):
    spec = parse_spec(
        discovery_spec("gpt2", "ioi", method=method, threshold=0.1), origin="The spec"
    )
    assert [step.id for step in checked_steps(spec)][0] == "scores"
    assert spec.task.seed == 0 and spec.steps[-1].task_options(spec.task)["seed"] == 1
    assert spec.name == f"discover-gpt2-ioi-{method}"


def test_the_pairs_of_a_file_are_searched_and_not_called_held_out(tmp_path):
    path = tmp_path / "pairs.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["clean", "corrupted", "answer", "wrong"])
        for word, other in (("river", "road"), ("road", "river")):
            rows.writerow([f"The {word} of", f"The {other} of", f" {word}", f" {other}"])
    data = discovery_spec(str(write_tiny_model(tmp_path / "tiny")), "pairs", n=2, n_edges=30)
    data["task"]["params"] = {"path": str(path)}
    for step in data["steps"][1:]:
        step["params"]["n_random"] = 2
    spec = parse_spec({**data, "outputs": {"formats": ["svg"]}}, origin="The spec")
    results = saved_results(run_experiment(spec, RunStore(tmp_path / "runs")))
    assert not results["circuit"].held_out
    assert "prompts that also chose it" in " ".join(headline(results))


def test_an_unknown_task_is_refused_before_anything_is_loaded():
    with pytest.raises(TaskError, match="'ioi'"):
        discovery_spec("gpt2", "iio")
