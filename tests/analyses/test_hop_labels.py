"""Labels of two-hop queries against a plain loop of single prompts, and the sets by a table."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from mechbench.analyses.common import row_runs
from mechbench.analyses.common.hops import set_names, within_cap
from mechbench.analyses.hop_labels import hop_labels
from mechbench.errors import StoreError, TaskError, TokenizerError
from mechbench.figures.hop_labels import hop_labels_figure
from mechbench.results.io import load_result
from mechbench.tasks.two_hop_build import two_hop_task
from mechbench.tasks.two_hop_texts import ENGLISH, LABELS
from tests.analyses.late_hop import late_model, late_task
from tests.analyses.reading_models import bridged
from tests.analyses.two_hop_models import answerable, tiny_gpt2, word_tokenizer


@pytest.fixture
def model():
    return tiny_gpt2()


@pytest.fixture
def task(model):
    return answerable(model, 14)


@torch.no_grad()
def loop(model, ids, n_new):
    """One prompt, one full forward pass per new token."""
    ids = ids.tolist()
    for _ in range(n_new):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[-n_new:]


@pytest.mark.parametrize(("method", "n_new"), [("argmax", 1), ("generate", 3)])
def test_plain_loop(model, task, method, n_new):
    result = hop_labels(model, task, method=method, max_new_tokens=3)
    decode = model.tokenizer.decode
    for label in LABELS:
        for i, (ids, target) in enumerate(
            zip(task.tokens_of(label), task.text_targets(label), strict=True)
        ):
            new = loop(model, ids, n_new)
            assert result.answers.sel(label=label).values[i] == decode(new)
            words = decode(new).split()
            assert bool(result.right.sel(label=label)[i]) == (target.name in words)
            with torch.no_grad():
                log_probs = model(ids[None])[0, -1].log_softmax(-1)
            (token,) = model.tokenizer(f" {target.name}")["input_ids"]
            found = float(result.log_prob.sel(label=label)[i])
            assert found == pytest.approx(float(log_probs[token]), abs=1e-4)
    means = result.right.mean("prompt")
    np.testing.assert_allclose(result.summary.sel(estimate="mean"), means)
    if method == "argmax":  # the facts are what the model says
        assert means.sel(label=["first_hop", "second_hop"]).values.tolist() == [1.0, 1.0]
        assert len(result.indices("incorrect")) > 2
    b = result.by_kind.sel(estimate="mean", kind="b", label="composition")
    of_b = [bool(r) for r, k in zip(result.right[2], task.kinds, strict=True) if k == "b"]
    assert float(b) == pytest.approx(sum(of_b) / len(of_b))


def test_control_asks_for_the_partners_entity(model, task):
    result = hop_labels(model, task, method="argmax")
    answers = result.answers.sel(label="first_hop").values
    other = [task.queries[j].e2.name for j in task.partners.tolist()]
    hits = np.mean([a.strip() == e for a, e in zip(answers, other, strict=True)])
    assert float(result.control.sel(estimate="mean", label="first_hop")) == pytest.approx(hits)


def test_sets_by_a_table():
    table = np.array(list(product([False, True], repeat=5)))
    names = set_names(dict(zip(LABELS, table.T, strict=True)))
    expected = {(1, 1, 1, 0, 0): "correct", (1, 1, 0, 0, 0): "incorrect"}
    for row, name in zip(table.astype(int).tolist(), names, strict=True):
        assert name == expected.get(tuple(row), "neither")


def test_cap(model, task):
    sets = np.array(["correct"] * 6 + ["incorrect"] * 6)
    kept = within_cap(sets, ["x", "x", "x", "y", "x", "x"] * 2, 2, 0)
    assert kept[:6].sum() == kept[6:].sum() == 3 and kept[3] and kept[9]
    assert not np.array_equal(kept, within_cap(sets, ["x", "x", "x", "y", "x", "x"] * 2, 2, 5))
    capped = hop_labels(model, task, method="argmax", cap=1, cap_by="e2")
    chosen = [task.queries[i].e2.name for i in capped.indices("incorrect")]
    assert chosen and len(set(chosen)) == len(chosen)
    assert float(capped.share.sel(estimate="mean").sum()) == pytest.approx(1)


def test_resumes_where_it_was_interrupted(model, task, tmp_path, monkeypatch):
    expected = hop_labels(model, task, method="generate", max_new_tokens=2)
    monkeypatch.setitem(row_runs._POSITIONS_AT_ONCE, "cpu", 20)
    monkeypatch.setattr(row_runs.KeptFile, "due", True)

    def stop(done, total):
        assert total == 5 * len(task)
        if done > 2 * len(task) + 4:
            raise KeyboardInterrupt

    options = {"method": "generate", "max_new_tokens": 2, "checkpoint": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        hop_labels(model, task, progress=stop, **options)
    calls = []
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    counts = []
    resumed = hop_labels(model, task, progress=lambda d, t: counts.append(d), **options)
    assert resumed.answers.equals(expected.answers) and resumed.right.equals(expected.right)
    np.testing.assert_allclose(resumed.log_prob, expected.log_prob, atol=1e-6)
    assert len(calls) < 0.7 * 2 * 5 * len(task) / 2 and counts[-1] == 5 * len(task)
    with pytest.raises(StoreError, match="other work"):
        hop_labels(model, task, method="argmax", checkpoint=tmp_path)


def test_prompts_of_many_lengths_and_text_answers(tmp_path):
    model = tiny_gpt2()
    task = answerable(model, 6, templates=ENGLISH)
    assert len({len(ids) for ids in task.tokens_of("relation_shortcut")}) == 1
    result = hop_labels(model, task, max_new_tokens=2)
    for i, ids in enumerate(task.tokens_of("second_hop")):
        assert result.answers[1].values[i] == model.tokenizer.decode(loop(model, ids, 2))
    figure = hop_labels_figure(result)
    assert "incorrect" in figure.caption and len(figure.panels) == 2
    assert load_result(result.save(tmp_path / "kept")).identical(result)


def test_bridged_models(tmp_path):
    model = bridged(tmp_path)
    model.tokenizer = word_tokenizer()
    queries = answerable(tiny_gpt2(), 10).queries
    result = hop_labels(model, two_hop_task(model.tokenizer, queries), max_new_tokens=2)
    ids = two_hop_task(model.tokenizer, queries).tokens_of("composition")[1]
    assert result.answers[2].values[1] == model.tokenizer.decode(loop(model, ids, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sample"}, "method='sample' is not known"),
        ({"cap": 0}, "at least 1"),
        ({"cap": 1}, "cap_by='e2'"),
        ({"cap_by": "e3"}, "cap_by='e3'"),
        ({"max_new_tokens": 0}, "1 or more"),
        ({"max_new_tokens": 90}, "does not fit"),
    ],
)
def test_refusals(model, task, options, message):
    with pytest.raises(TaskError, match=message):
        hop_labels(model, task, **options)


def test_text_needs_a_tokenizer(model, task):
    model.tokenizer = None
    with pytest.raises(TokenizerError, match="argmax"):
        hop_labels(model, task)
    assert hop_labels(model, task, method="argmax").answers[0].values[0].startswith("#")


def test_questions_and_reasons_are_told():
    model = late_model()
    task = late_task()
    result = hop_labels(model, task, method="argmax", cap=1, cap_by="e2")
    assert result.questions.sel(label="composition").values.tolist() == list(task.texts())
    assert result.wanted.sel(label="first_hop").values.tolist() == [
        query.e2.name for query in task.queries
    ]
    assert {result.why(query) for query in result.indices("incorrect")} == {
        "hops right, composition wrong"
    }
    capped = int(np.flatnonzero(~result.kept.values)[0])
    assert result.why(capped).endswith("; beyond the cap")
    right = result.right.copy()
    right.loc[{"label": ["first_hop", "entity_shortcut"], "prompt": 0}] = [False, True]
    changed = replace(result, right=right)
    assert changed.why(0).startswith("first hop wrong, entity shortcut right")
