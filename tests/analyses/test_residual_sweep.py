"""Residual sweep against a float64 loop of single hooks."""

import numpy as np
import pytest
import torch

from mechbench.analyses.residual_sweep import residual_sweep
from mechbench.errors import TaskError


def _logit_difference(logits, task, letter):
    """LD of one letter from all logits, prompt by prompt in plain Python."""
    out = []
    for row, index in zip(logits, task.letters[:, letter - 1].tolist(), strict=True):
        capitals = row[task.frame.answers[letter - 1], task.capitals]
        others = [x for i, x in enumerate(capitals.tolist()) if i != index]
        out.append(capitals[index].item() - max(others))
    return np.array(out)


@pytest.mark.parametrize(
    "corruption, letter", [("current_word", 1), ("previous_words", 3), ("previous_letters", 2)]
)
def test_agrees_with_a_float64_loop(model, task, corruption, letter):
    result = residual_sweep(model, task, corruption=corruption, letters=[letter], seed=2)
    double = model.double()
    pairs = task.pairs(corruption, letter=letter, seed=2)
    base = _logit_difference(double(pairs.clean), task, letter)
    for layer, position in [(0, 2), (1, 4), (2, 9), (1, 10), (0, 9)]:
        name = f"blocks.{layer}.hook_resid_pre"
        _, cache = double.run_with_cache(pairs.corrupt, names_filter=name)

        def write(resid, hook, cache=cache, position=position):
            resid[:, position] = cache[hook.name][:, position]
            return resid

        logits = double.run_with_hooks(pairs.clean, fwd_hooks=[(name, write)])
        expected = _logit_difference(logits, task, letter) - base
        found = result.effect.isel(answer=0, layer=layer, position=position)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_allclose(
            result.summary.sel(estimate="mean").isel(answer=0, layer=layer, position=position),
            expected.mean(),
            atol=2e-5,
        )
    np.testing.assert_allclose(result.base.isel(answer=letter - 1), base, atol=2e-5)


def test_axes_labels_and_causality(model, task):
    result = residual_sweep(model, task, corruption="current_word")
    assert result.effect.dims == ("answer", "layer", "position", "prompt")
    assert list(result.effect.position.values) == list(task.frame.labels)
    assert list(result.effect.answer.values) == ["letter 1", "letter 2", "letter 3"]
    # before the corrupted word and, at layer 0, everywhere else, both runs are the same
    for letter in (1, 2, 3):
        word = task.frame.capitals[letter - 1]
        assert (abs(result.effect[letter - 1, :, :word]) < 1e-5).all()
        assert (abs(result.effect[letter - 1, 0, word + 2 :]) < 1e-5).all()
        assert (abs(result.control.sel(estimate="mean")[letter - 1, :, :word]) < 1e-5).all()
        assert (abs(result.effect[letter - 1, 0, word]) > 1e-3).all()
    low, mean, high = (result.summary.sel(estimate=e) for e in ("low", "mean", "high"))
    assert (low <= mean).all() and (mean <= high).all()


def test_the_control_moves_the_stream_as_far(model, task):
    from mechbench.analyses.common.controls import RandomDirection
    from mechbench.interventions.runs import Runs

    runs = Runs(model, task.pairs("current_word", letter=2))
    name = "blocks.1.hook_resid_pre"
    runs.need("clean", [name])
    runs.need("corrupt", [name])
    moved = RandomDirection(runs["clean"], 0).value(name, runs["clean"][name], runs["corrupt"])
    length = (moved - runs["clean"][name]).norm(dim=-1)
    expected = (runs["corrupt"][name] - runs["clean"][name]).norm(dim=-1)
    torch.testing.assert_close(length, expected)


def test_progress_counts_to_the_end(model, task):
    seen = []
    residual_sweep(
        model,
        task,
        corruption="previous_letters",
        letters=[2],
        progress=lambda done, of: seen.append((done, of)),
    )
    assert seen[-1] == (66, 66) and seen == sorted(seen)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"letters": [4]}, "Letter 4"),
        ({"letters": []}, "at least one"),
        ({"letters": [1], "corruption": "previous_words"}, "nothing precedes letter 1"),
        ({"corruption": "nonsense"}, "not known here"),
    ],
)
def test_impossible_requests(model, task, options, message):
    with pytest.raises(TaskError, match=message):
        residual_sweep(model, task, **options)


def test_one_prompt_is_too_few(model, make_task):
    with pytest.raises(TaskError, match="at least 2"):
        residual_sweep(model, make_task(n=1))
