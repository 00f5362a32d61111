"""The text of one cell: where it is known, against a plain loop, and against the whole grid."""

import numpy as np
import pytest
import torch

from mechbench.analyses.back_patched_text import back_patched_text
from mechbench.analyses.back_patching import back_patching
from mechbench.errors import TaskError, TokenizerError, UnsupportedHookError
from mechbench.figures.back_patched_text import back_patched_text_figure
from mechbench.results.back_patched_text import RUNS
from mechbench.results.io import load_result
from tests.analyses.late_hop import RESCUING, late_model, late_task
from tests.analyses.two_hop_models import answerable, tiny_gpt2
from tests.figures.style import check_caption, check_stored

_N_NEW = 3


@torch.no_grad()
def by_hand(model, ids, layer, position, state):
    """Greedy text after a hook wrote ``state``, every step a whole forward pass."""
    n = len(ids)

    def write(resid, hook):
        resid = resid.clone()
        resid[0, position] = state
        return resid

    for _ in range(_N_NEW):
        logits = model.run_with_hooks(
            ids[None], fwd_hooks=[(f"blocks.{layer}.hook_resid_post", write)]
        )
        ids = torch.cat([ids, logits[0, -1].argmax()[None]])
    return model.tokenizer.decode(ids[n:]).strip()


@pytest.mark.parametrize("cell", [(2, 0), (0, 2), (1, 0)])
@pytest.mark.parametrize("position", ["t1", "t2"])
@torch.no_grad()
def test_texts_are_those_of_a_plain_loop(cell, position):
    model = tiny_gpt2(scale=1.0)
    task = answerable(model, 12)
    source, target = cell
    queries = [7, 2, 5]
    result = back_patched_text(
        model,
        task,
        source_layer=source,
        target_layer=target,
        position=position,
        queries=queries,
        max_new_tokens=_N_NEW,
    )
    assert result.texts["query"].values.tolist() == queries
    seen = set()
    for query in queries:
        ids, at = task.tokens_of()[query], int(task.spans[position][query])
        partner = int(task.partners[query])
        _, own = model.run_with_cache(ids[None])
        _, other = model.run_with_cache(task.tokens_of()[partner][None])
        there = int(task.spans[position][partner])
        expected = {
            "unpatched": by_hand(model, ids, target, at, own["resid_post", target][0, at]),
            "patched": by_hand(model, ids, target, at, own["resid_post", source][0, at]),
            "other query": by_hand(model, ids, target, at, other["resid_post", source][0, there]),
            "reversed": by_hand(model, ids, source, at, own["resid_post", target][0, at]),
        }
        for run, text in expected.items():
            assert str(result.texts.sel(run=run, query=query).item()).strip() == text, run
            names = {
                "answer": task.queries[query].e3.name,
                "bridge": task.queries[query].e2.name,
                "other answer": task.queries[partner].e3.name,
            }
            for what, name in names.items():
                assert bool(result.named.sel(named=what, run=run, query=query)) == (name in text)
        seen |= set(expected.values())
    assert len(seen) > 2  # patches matter
    np.testing.assert_allclose(result.share.sel(estimate="mean"), result.named.mean("query"))


@pytest.mark.parametrize("method", ["generate", "argmax"])
def test_a_cell_of_the_grid_has_these_texts(method):
    """Noise included, also where the grid was run at one position."""
    model = tiny_gpt2(scale=1.0)
    task = answerable(model, 30)
    options = dict(method=method, max_new_tokens=2, seed=3)
    whole = back_patching(model, task, positions=["t2"], **options)
    queries = [int(q) for q in whole.sets["prompt"].values]
    said = back_patched_text(
        model, task, source_layer=2, target_layer=1, position="t2", queries=queries, **options
    )
    cell = dict(position="t2", source_layer=2, target_layer=1)
    texts, index = (
        (whole.texts, whole.said) if method == "generate" else (whole.tokens, whole.first)
    )
    different = set()
    for run, state in (("patched", "own"), ("other query", "another query's"), ("noise", "noise")):
        expected = [texts[int(i)] for i in index.sel(state=state, **cell)]
        assert said.texts.sel(run=run).values.tolist() == expected
        right = whole.success.sel(state=state, **cell).isel(rule=-1)
        np.testing.assert_array_equal(said.named.sel(named="answer", run=run), right == 1)
        different.add(tuple(expected))
    assert len(different) > 1
    other = whole.other_answer.sel(cell).isel(rule=-1)
    np.testing.assert_array_equal(said.named.sel(named="other answer", run="patched"), other == 1)


def test_the_planted_rescue_is_told():
    source, target = sorted(RESCUING)[0]
    result = back_patched_text(
        late_model(), late_task(), source_layer=source, target_layer=target, max_new_tokens=1
    )
    shares = result.share.sel(estimate="mean", named="answer")
    assert shares.sel(run="patched") == 1 and shares.sel(run="unpatched") == 0
    assert shares.sel(run="reversed") == 0
    figure = back_patched_text_figure(result)
    assert all(
        row[5].startswith("✓") and not row[4].startswith("✓") for row in figure.panels[0].rows
    )


def test_samples_differ_and_come_back():
    model = tiny_gpt2(scale=1.0)
    task = answerable(model, 12)
    one, again, other = (
        back_patched_text(model, task, temperature=9.0, max_new_tokens=4, seed=seed)
        for seed in (0, 0, 1)
    )
    assert one.texts.equals(again.texts) and not one.texts.equals(other.texts)
    assert "sampled at temperature 9" in back_patched_text_figure(one).caption


def test_result_and_figure(tmp_path):
    seen = []
    result = back_patched_text(
        late_model(),
        late_task(),
        source_layer=2,
        queries=[4],
        max_new_tokens=2,
        progress=lambda *a: seen.append(a),
        checkpoint=tmp_path / "kept",
    )
    assert seen[-1] == (len(RUNS), len(RUNS))
    assert load_result(result.save(tmp_path / "saved")).identical(result)
    figure = back_patched_text_figure(result)
    check_caption(figure)  # one query has no interval, and the caption says no nan
    check_stored(figure)
    assert figure.panels[0].rows[0][0] == "4" and len(figure.panels[0].rows) == 1


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"position": "e1"}, TaskError, "one of t1, t2"),
        ({"queries": []}, TaskError, "some of 0..11"),
        ({"queries": [3, 3]}, TaskError, "each once"),
        ({"queries": [12]}, TaskError, "some of 0..11"),
        ({"source_layer": 1, "target_layer": 1}, TaskError, "two different layers"),
        ({"source_layer": 4}, UnsupportedHookError, "4"),
        ({"target_layer": -1}, UnsupportedHookError, "-1"),
        ({"method": "guess"}, TaskError, "method='guess'"),
        ({"max_new_tokens": 40}, TaskError, "context is 16"),
        ({"temperature": -1.0}, TaskError, "temperature=-1.0"),
    ],
)
def test_refusals(options, error, match):
    with pytest.raises(error, match=match):
        back_patched_text(late_model(), late_task(), **options)


def test_text_needs_a_tokenizer():
    model = tiny_gpt2()
    task = answerable(model, 6)
    model.tokenizer = None
    with pytest.raises(TokenizerError):
        back_patched_text(model, task)
