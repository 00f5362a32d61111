"""The page Circuit: from the button to the exact test, its links, files and copies."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from apps.parts.circuit import CURVE, SCORES, exact_spec, score_spec, shown_circuit, shown_run
from apps.parts.circuit_data import graph_text
from apps.parts.circuit_files import eap_ig_text, read_upload
from mechbench.analyses.circuit_agreement import circuit_agreement
from mechbench.analyses.circuit_tests import circuit_tests
from mechbench.errors import CircuitError
from mechbench.experiments.runner import load_part, run_experiment
from mechbench.experiments.spec import ExperimentSpec
from mechbench.graphs.annotations import Annotations
from mechbench.graphs.circuit import circuit_from_json
from mechbench.results.circuit_curve import CircuitCurve
from mechbench.results.kept_texts import keep_text
from mechbench.results.store import RunStore
from mechbench.tasks.registry import build_task


@pytest.fixture(scope="module")
def scored(tmp_path_factory, tiny):
    """The run of scores on the tiny model."""
    store = RunStore(tmp_path_factory.mktemp("circuit") / "runs")
    part = {"name": "acronyms", "n": 3, "seed": 0}
    return run_experiment(score_spec(str(tiny), part, "eap-ig-inputs", 2), store)


def metrics(shown):
    return {m.label: m.value for m in shown.metric}


def test_the_page_before_anything_is_run(page, tmp_path):
    shown = page(tmp_path, "circuit")
    assert not shown.exception and not shown.error and not shown.warning
    assert "edge_attribution(" in shown.code[0].value and "circuit_curve(" in shown.code[0].value


def test_scores_from_the_button_to_the_exact_test(page, tiny, tmp_path):
    shown = page(tmp_path, "circuit", model=tiny, n=2, steps=1)
    shown.button[0].click().run()
    assert not shown.exception and not shown.error
    run_id = shown.query_params["run"]
    for _ in range(1200):
        status = RunStore(tmp_path).open(run_id).status()
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.1)
    shown.run()
    assert not shown.exception and not shown.error and status.state == "finished"
    result = RunStore(tmp_path).open(run_id).load_result(CURVE)
    assert isinstance(result, CircuitCurve) and result.held_out
    assert "Faithfulness" in metrics(shown) and "t" in shown.query_params


def test_the_exact_test_is_that_of_the_library(page, scored):
    """Against the full tests of the circuit that numpy makes of the stored scores."""
    scores = scored.load_result(SCORES)
    sizes = np.abs(scores.scores.values.astype(float))
    at = float(f"{np.sort(sizes)[-12]:.3e}")
    shown = page(scored.path.parent, "circuit", run=scored.run_id, t=at, random=3)
    assert not shown.exception and not shown.error and not shown.warning
    n = int((sizes >= at).sum())
    spec = ExperimentSpec.model_validate(scored.spec)
    model = load_part(spec.model, None)
    task = build_task("acronyms", model.tokenizer, n=3, seed=1)
    circuit = shown_run(scored).circuit(at, False, Annotations())
    assert len(circuit.edges) == n
    full = circuit_tests(model, task, circuit=circuit, n_random=3, n_subsets=1)
    assert metrics(shown) == {
        "Faithfulness": f"{float(full.faithfulness[0, 0]):.3f}",
        "All but the circuit": f"{float(full.completeness[0, 0]):.3f}",
        "Random, uniform": f"{float(full.random.sel(null='uniform').mean()):.3f}",
        "Random, matched": f"{float(full.random.sel(null='matched').mean()):.3f}",
    }
    words = " ".join(c.value.replace("\\", "") for c in shown.caption)
    assert f"{n} of {len(sizes)} edges" in words and f"|score| ≥ {at:g}" in words
    assert "n = 3 prompts of acronyms, seed 1, that did not choose it" in words


def test_the_copied_script_gives_what_the_page_shows(page, scored):
    shown = page(scored.path.parent, "circuit", run=scored.run_id, random=2, prune=1)
    (script,) = [
        c.value for c in shown.code if "circuit_faithfulness(" in c.value and "import" in c.value
    ]
    names: dict = {}
    exec(script, names)
    result = names["exact"]
    assert metrics(shown)["Faithfulness"] == f"{float(result.faithfulness[0]):.3f}"
    stored = scored.load_result(SCORES)
    np.testing.assert_allclose(names["scores"].scores, stored.scores, rtol=1e-6)
    edges = shown_run(scored).circuit(float(shown.query_params["t"]), True, Annotations()).edges
    assert result.edges == edges and result.selection["prune"]


@pytest.mark.parametrize(
    "bad",
    [
        {"t": "1e9"},
        {"t": "nan"},
        {"node": "m77"},
        {"picked": "m77"},
        {"notes": "../../x"},
        {"notes": "0" * 16},
        {"circuit": "0" * 16},
        {"method": "magic"},
        {"random": "0"},
        {"run": "../.."},
    ],
)
def test_bad_parameters_are_told_and_replaced(page, scored, bad):
    shown = page(scored.path.parent, "circuit", **{"run": scored.run_id, "exact": 0, **bad})
    assert not shown.exception and not shown.error
    assert shown.warning


def test_links_restore_notes(page, scored):
    notes = Annotations().pin(["m0"]).label("m0", "<b>mine").group("both", ["m0", "m1"])
    text = json.dumps(
        {
            "pinned": ["m0"],
            "labels": dict(notes.labels),
            "groups": [{"label": "both", "nodes": ["m0", "m1"]}],
        }
    )
    folder = scored.path.parent
    link = {"notes": keep_text(text, folder / "notes"), "node": "m0", "exact": 0}
    shown = page(folder, "circuit", run=scored.run_id, **link)
    assert not shown.exception and not shown.error and not shown.warning
    assert any("Pinned: m0" in c.value.replace("\\", "") for c in shown.caption)
    assert "<b>mine" in [t.value for t in shown.text_input]
    ungroup = [b for b in shown.button if b.label.startswith("Ungroup both")]
    ungroup[0].click().run()
    assert not [b for b in shown.button if b.label.startswith("Ungroup")]
    assert shown.query_params["notes"] != link["notes"]


def test_a_loaded_circuit_is_scored_on_the_chosen_model(page, scored, tiny):
    circuit = shown_run(scored).circuit(0.0, False, Annotations())
    few = replace(circuit, edges=circuit.edges[:40])
    folder = scored.path.parent
    name = keep_text(few.to_json(), folder / "circuits")
    shown = page(folder, "circuit", circuit=name, model=tiny, n=3, random=2)
    assert not shown.exception and not shown.error and not shown.warning
    assert "Faithfulness" in metrics(shown)
    other = page(folder, "circuit", circuit=name, model="acronyms-gpt2", n=3, random=2)
    assert not other.exception and "another model" in other.error[0].value


def test_saved_circuits_are_read_again(scored):
    shown = shown_run(scored)
    notes = Annotations().pin(["m0"]).group("both", ["m0", "m1"])
    circuit = shown.circuit(shown.view.threshold_of(20), False, notes)
    read = read_upload(circuit.to_json().encode(), "c.json", None)
    assert read.edges == circuit.edges and read.annotations == notes
    assert read.roles == {"m0": "both", "m1": "both"}
    theirs = read_upload(eap_ig_text(circuit, shown.scores).encode(), "g.json", shown.scores)
    assert set(theirs.edges) == set(circuit.edges)
    assert len(theirs.scores) == shown.view.n_graph_edges
    again = shown_circuit("x", circuit_from_json(circuit.to_json(), "c"))
    assert set(again.view.edges) == set(circuit.edges)


def test_circuit_agreement_reads_the_saved_file(scored, tmp_path):
    shown = shown_run(scored)
    path = tmp_path / "c.json"
    circuit = shown.circuit(shown.view.threshold_of(20), False, Annotations().pin(["m0"]))
    path.write_text(circuit.to_json())
    model = load_part(ExperimentSpec.model_validate(scored.spec).model, None)
    task = build_task("acronyms", model.tokenizer, n=2, seed=0)
    found = circuit_agreement(model, task, one=str(path), other=str(path))
    assert len(found.members["edges"]["both"]) == len(circuit.edges)


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"[]", b"{", b'{"cfg": 1}', b'"cfg"', b"[" * 9999, b'{"format": 1, "edges": 3}'],
)
def test_other_uploads_are_refused_in_words(data):
    with pytest.raises(CircuitError):
        read_upload(data, "x.json", None)


def test_the_browser_is_given_every_edge_as_it_was_scored(scored):
    shown = shown_run(scored)
    data = json.loads(graph_text("k", shown.view, shown.curve, "edges"))
    stored = scored.load_result(SCORES)
    by_name = dict(zip(stored.graph().edge_names, stored.scores.values.tolist(), strict=True))
    rebuilt = {
        f"{data['nodes'][w]['id']}->{data['inputs'][r][0]}": s
        for w, r, s in zip(data["writers"], data["readers"], data["scores"], strict=True)
    }
    assert rebuilt == by_name
    curve = scored.load_result(CURVE)
    own = curve.faithfulness.sel(ranking="absolute", estimate="mean").values
    np.testing.assert_allclose(data["curve"]["mean"], own)
    rest = curve.complement_faithfulness.sel(ranking="absolute", estimate="mean").values
    np.testing.assert_allclose(data["curve"]["rest"], rest)


def test_the_exact_test_keeps_the_scores_of_its_run(scored):
    spec = ExperimentSpec.model_validate(scored.spec)
    test = exact_spec(spec, 0.5, prune=True, n_random=4)
    assert test.steps[0] == spec.steps[0] and test.model == spec.model
    assert test.steps[1].task == {"seed": 1}
