"""The benchmark's forms agree on a tiny model. Nothing here looks at times."""

import json

import pytest

from mechbench.bench import discover as bench
from mechbench.bench import shapes
from mechbench.models.variants.gpt2 import GPT2Config


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    config = GPT2Config(n_layers=2, n_heads=2, d_model=16, d_mlp=32, d_vocab=50257, n_ctx=32)
    monkeypatch.setattr(shapes, "SMALL", config)
    monkeypatch.setattr(bench, "measured_apart", lambda peak, *sizes: 1 + peak(*sizes))


def test_the_report_is_complete():
    said = []
    report = bench.run_discover_bench(n_prompts=3, length=6, rounds=1, say=said.append)
    assert report == json.loads(json.dumps(report))
    assert len(said) == 3
    for name, steps in (("EAP", 0), ("EAP-IG inputs", bench.IG_STEPS)):
        assert report[name]["steps"] == steps
        assert 0 < report[name]["largest_relative_difference"] < 1e-4
        assert report[name]["times_faster"]["median"] > 0
        assert set(report[name]["peak_bytes"]) == {"matrix form", "mechbench"}
    assert list(report["edge set"]["by_share"]) == [str(share) for share in bench.SHARES]


def test_no_speed_is_reported_where_the_forms_disagree(monkeypatch):
    form = bench.matrix_form_scores
    monkeypatch.setattr(bench, "matrix_form_scores", lambda *a, **k: form(*a, **k) * 1.001)
    with pytest.raises(AssertionError, match="EAP: the two forms differ"):
        bench.run_discover_bench(n_prompts=2, length=6, rounds=1, say=lambda _: None)


def work_apart(number):
    return number + 1


def test_a_function_runs_in_a_process_of_its_own():
    from mechbench.bench.measure import measured_apart

    assert measured_apart(work_apart, 41) == 42
