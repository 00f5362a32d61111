"""The logit lens against TransformerLens' and against the model's own output."""

import numpy as np
import pytest
import torch
from transformer_lens.tools.analysis import logit_lens as their_lens

from mechbench.analyses.common import lens
from mechbench.analyses.logit_lens import logit_lens
from mechbench.errors import TaskError
from mechbench.results.logit_lens import RESIDUAL
from tests.analyses.reading_models import Numerals, bridged, loud_norms, numbers


def test_transformer_lens_logit_lens(model, task):
    model = loud_norms(model)
    result = logit_lens(model, task)
    positions = list(task.frame.answers)
    for answer, position in enumerate(positions):
        theirs = their_lens(
            model,
            task.clean,
            incl_mid=True,
            positions=position,
            targets=task.answers[:, answer],
            return_type="log_probs",
        )
        assert theirs.labels == list(result.log_prob[RESIDUAL].values)
        ours = result.log_prob[:, :, answer]
        np.testing.assert_allclose(ours, theirs.readout.values[..., 0], atol=1e-4)
        np.testing.assert_array_equal(
            result.rank[:, :, answer], theirs.readout.target_ranks[..., 0]
        )
    top = their_lens(
        model, task.clean, incl_mid=True, positions=None, top_k=1, return_type="probs"
    ).readout
    ids = [[[f"#{i}" for i in row] for row in site[:2]] for site in top.top_ids[..., 0].tolist()]
    np.testing.assert_array_equal(result.top_token.transpose(RESIDUAL, ...), ids)
    np.testing.assert_allclose(
        result.top_prob.transpose(RESIDUAL, ...), top.values[:, :2, :, 0], atol=1e-5
    )


def test_the_last_stream_is_the_models_answer(model, task):
    result = logit_lens(model, task)
    metric, pairs = task.metric(), task.pairs()
    with torch.no_grad():
        logits = model(task.clean)
        log_probs = logits.log_softmax(-1)
        at = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
    np.testing.assert_allclose(result.metric[-1], metric(at[..., metric.vocab]), atol=1e-5)
    everywhere = log_probs.gather(-1, pairs.answers[:, None].expand(-1, 11, -1)).mean(0)
    np.testing.assert_allclose(result.by_position[-1], everywhere, atol=1e-5)
    other = pairs.answers.roll(-1, 0)
    shuffled = at.log_softmax(-1).gather(-1, other[..., None]).mean()
    found = float(result.control.sel(estimate="mean")[-1])
    assert found == pytest.approx(float(shuffled), abs=1e-5)


def test_parts_of_the_batch_are_the_whole(model, task, monkeypatch):
    whole = logit_lens(model, task, n_shown=3)
    monkeypatch.setattr(lens, "_LOGITS_AT_ONCE", 2 * 11 * 101)
    parts = logit_lens(model, task, n_shown=3)
    for name, values in whole.field_arrays().items():
        if values.dtype.kind == "U":
            np.testing.assert_array_equal(getattr(parts, name), values)
        else:
            np.testing.assert_allclose(getattr(parts, name), values, atol=1e-5)
    assert whole.tokens.shape == (3, 11)


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX", "Gemma2"])
def test_bridged_models(tmp_path, kind):
    model = bridged(tmp_path, kind)
    task = numbers(model)
    result = logit_lens(model, task)
    streams = ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"]
    if kind == "GPTNeoX":
        streams = ["0_pre", "1_pre", "final_post"]
    assert list(result.metric[RESIDUAL].values) == streams
    logits = model.answer_logits(task.clean, task.metric().positions, task.metric().vocab)
    np.testing.assert_allclose(result.metric[-1], task.metric()(logits).detach(), atol=1e-5)


def test_tokens_are_text_where_there_is_a_tokenizer(model):
    task = numbers(model)
    model.tokenizer = Numerals(model.cfg.d_vocab)
    result = logit_lens(model, task, n_shown=1)
    assert list(result.tokens.values[0]) == [str(i) for i in task.clean[0].tolist()]


def test_nothing_to_show(model, task):
    with pytest.raises(TaskError, match="at least 1"):
        logit_lens(model, task, n_shown=0)
