"""Answers to both prompts, against plain forwards."""

import numpy as np
import pytest
import torch

from mechbench.analyses.pair_logits import pair_logits
from mechbench.errors import TaskError
from mechbench.figures.pair_logits import pair_logits_figure
from tests.analyses.reading_models import Numerals, bridged, numbers


def test_against_plain_forwards(model, task):
    result = pair_logits(model, task)
    pairs, metric = task.pairs(), task.metric()
    for run, tokens in (("clean", pairs.clean), ("corrupted", pairs.corrupt)):
        with torch.no_grad():
            logits = model(tokens)
        at = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        wanted = metric(at[..., metric.vocab]).mean(-1)
        np.testing.assert_allclose(result.metric.sel(run=run), wanted, atol=1e-5)
        log_probs = at.log_softmax(-1)
        for prompt in range(len(task)):
            for answer in range(3):
                found = result.log_prob.sel(run=run)[prompt, answer]
                right = int(pairs.answers[prompt, answer])
                assert float(found) == pytest.approx(
                    float(log_probs[prompt, answer, right]), abs=1e-5
                )
                best = int(at[prompt, answer].argmax())
                assert result.top_token.sel(run=run)[prompt, answer] == f"#{best}"
    gap = (result.metric.sel(run="clean") - result.metric.sel(run="corrupted")).mean()
    assert float(result.change.sel(estimate="mean")) == pytest.approx(float(gap), abs=1e-6)
    by_hand = result.metric.values[0] - result.metric.values[1]
    np.testing.assert_array_equal(result.difference, by_hand)


def test_the_figure_marks_what_differs(model, task):
    model.tokenizer = Numerals(model.cfg.d_vocab)
    figure = pair_logits_figure(pair_logits(model, task), n_shown=2)
    tokens, answers = figure.panels
    pairs = task.pairs()
    differs = (pairs.clean != pairs.corrupt)[:2].float().repeat_interleave(2, 0)
    np.testing.assert_array_equal(tokens.values, differs)
    assert tokens.rows == ("0 clean", "0 corr.", "1 clean", "1 corr.")
    assert tokens.cell_text[3][2] == str(int(pairs.corrupt[1, 2])) and len(answers.rows) == 2


def test_bridged_models_and_refusals(tmp_path, make_task):
    model = bridged(tmp_path, "Llama")
    assert pair_logits(model, numbers(model)).metric.sizes == {"run": 2, "prompt": 4}
    with pytest.raises(TaskError, match="prompts"):
        pair_logits(model, make_task(1))
