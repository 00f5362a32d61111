"""Published against found: never mixed, and compared only on the model they are about."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mechbench.analyses.circuit_evaluation import circuit_evaluation
from mechbench.analyses.circuit_search import circuit_search
from mechbench.analyses.common.published import read_published
from mechbench.analyses.compare_published import compare_published
from mechbench.analyses.head_sweep import head_sweep
from mechbench.errors import SpecError


@pytest.fixture
def knowing(planted, make_task):
    """A model that knows the task, the task, and the circuit found."""
    task = make_task(n=8)
    return planted, task, circuit_search(planted, task, n_random=2, method="permute")


@pytest.fixture
def folder(tmp_path):
    """A published circuit of two heads, about a model of the tiny sizes."""
    published = read_published(None)
    circuit, numbers = published.circuit, published.numbers
    sizes = {"n_layers": 3, "n_heads": 2, "d_model": 64, "d_vocab": 101}
    circuit = {**circuit, "model": {"names": ["tiny"], "display": "Tiny", **sizes}}
    circuit["heads"] = [{"head": "1.1", "role": "letter mover"}, {"head": "0.1", "role": "other"}]
    rows = [
        {"corruption": "current_word", "letter": 2, "where": "all positions", "head": "1.1"},
        {"corruption": "previous_words", "letter": 3, "where": "C_i", "head": "0.1"},
    ]
    numbers["head_effects"]["rows"] = [{**row, "value": -1.0, "tag": "F"} for row in rows]
    cumulative = {"steps": ["nothing", "1.1", "0.1"], "logit_diff": [[0, 0, 0]] * 3}
    numbers["cumulative"] = {**cumulative, "full": [1, 2, 3], "tag": "F"}
    (tmp_path / "circuit.json").write_text(json.dumps(circuit))
    (tmp_path / "published.json").write_text(json.dumps(numbers))
    return tmp_path


def test_the_shipped_files_agree_with_each_other():
    published = read_published(None)
    assert len(published.heads) == 8
    assert published.numbers["cumulative"]["steps"] == ["nothing", *published.heads]
    assert np.array(published.numbers["cumulative"]["logit_diff"]).shape == (9, 3)
    assert {row["tag"] for row in published.numbers["head_effects"]["rows"]} <= set("PCFS")
    assert {head["role_tag"] for head in published.circuit["heads"]} <= set("PCFS")


def test_another_model_gets_no_numbers_beside_the_published_ones(knowing):
    model, task, search = knowing
    result = compare_published(model, task, search=search)
    assert not result.comparable
    assert "GPT-2 small and are not comparable" in result.statement
    assert "untested on GPT-2 small" in result.statement
    assert result.found_heads == search.heads
    for name in ("overlap", "cumulative_here", "full_here", "effects_here", "overlap_p_value"):
        assert getattr(result, name) is None
    assert float(result.cumulative_published.sel(step="1.0", answer="letter 2")) == 2.0


def test_its_own_model_gets_the_measured_column(knowing, folder):
    model, task, search = knowing
    model.source = replace(model.source, name="tiny", kind="hub")
    result = compare_published(model, task, published=folder, search=search)
    assert result.comparable and "Tiny itself" in result.statement
    evaluation = circuit_evaluation(model, task, heads=["1.1", "0.1"], method="permute")
    assert result.cumulative_here.equals(evaluation.summary)
    words = head_sweep(
        model, task, corruption="previous_words", where=["word"], method="permute", control=False
    )
    expected = words.summary.sel(answer="letter 3", where="C_i", layer=0, head=1)
    np.testing.assert_allclose(result.effects_here.isel(effect=1), expected)
    assert set(search.heads) == {"1.1", "2.0"}
    assert result.overlap == {"both": 1, "published only": 1, "found only": 1}
    np.testing.assert_allclose(result.overlap_p_value, 1 - 6 / 15)  # pairs without either head


def test_same_sizes_but_another_name(knowing, folder):
    model, task, search = knowing
    model.source = replace(model.source, name="somebody/tiny", kind="hub")
    result = compare_published(model, task, published=folder, search=search)
    assert not result.comparable and "nothing is compared" in result.statement


def test_a_missing_folder(model, task, tmp_path):
    with pytest.raises(SpecError, match=r"circuit\.json"):
        compare_published(model, task, published=tmp_path / "none")
