"""The lens on one prompt, against a plain loop: unembed(ln_final(resid))."""

import numpy as np
import pytest
import torch

from mechbench.analyses.lens_view import lens_view
from mechbench.analyses.logit_lens import logit_lens
from mechbench.errors import TaskError
from mechbench.figures.lens_view import lens_view_figure
from tests.analyses.reading_models import bridged, loud_norms, numbers


@pytest.mark.parametrize("run", ["clean", "corrupted"])
def test_against_a_plain_loop(model, task, run):
    model = loud_norms(model)
    result = lens_view(model, task, prompt=2, run=run, n_tokens=3)
    pairs = task.pairs()
    tokens = pairs.clean if run == "clean" else pairs.corrupt
    _, cache = model.run_with_cache(tokens)
    names = [f"blocks.{l}.hook_resid_{part}" for l in range(3) for part in ("pre", "mid")]
    for stream, name in enumerate([*names, "blocks.2.hook_resid_post"]):
        with torch.no_grad():
            logits = model.unembed(model.ln_final(cache[name]))[2]
        for position in range(tokens.shape[1]):
            said = logits[position].softmax(-1)
            cell = {"residual": stream, "position": position}
            best = said.topk(3)
            assert list(result.top_token[cell].values) == [f"#{i}" for i in best.indices.tolist()]
            np.testing.assert_allclose(result.top_prob[cell], best.values, atol=1e-6)
            for answer in range(3):
                right, other = int(pairs.answers[2, answer]), int(pairs.answers[3, answer])
                rank = int((logits[position] > logits[position, right]).sum())
                control = int((logits[position] > logits[position, other]).sum())
                assert int(result.answer_rank[cell][answer]) == rank
                assert int(result.control_rank[cell][answer]) == control
                np.testing.assert_allclose(
                    result.log_prob[cell][answer], said[right].log(), atol=1e-4
                )
    assert list(result.tokens.values) == [f"#{i}" for i in tokens[2].tolist()]
    assert list(result.answers.values) == [f"#{i}" for i in pairs.answers[2].tolist()]
    assert result.read_at.values.tolist() == pairs.answer_positions[2].tolist()


def test_it_is_one_prompt_of_the_logit_lens(model, task):
    whole, one = logit_lens(model, task), lens_view(model, task, prompt=len(task) - 1)
    at = one.read_at.values
    found = [one.answer_rank[:, position, i] for i, position in enumerate(at)]
    np.testing.assert_array_equal(np.stack(found, 1), whole.rank[:, -1])
    first = lens_view(model, task, prompt=0)
    np.testing.assert_array_equal(first.top_token[..., 0], whole.top_token[0])


def test_the_figure_follows_the_cell(model, task):
    result = lens_view(model, task, prompt=1)
    tokens, path, top = lens_view_figure(result, answer=1, position=4, residual="1_mid").panels
    row = tokens.rows.index("1_mid")
    assert tokens.marked == ((row, 4),) and row == 3
    np.testing.assert_array_equal(path.series[0].values, result.answer_rank[:, 4, 1] + 1)
    np.testing.assert_array_equal(path.series[1].values, result.control_rank[:, 4, 1] + 1)
    assert [r[1] for r in top.rows] == list(result.top_token[row, 4].values)
    usual = lens_view_figure(result).panels[0].marked
    assert usual == ((6, int(result.read_at[0])),)


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX", "Gemma2"])
def test_bridged_models(tmp_path, kind):
    model = bridged(tmp_path, kind)
    task = numbers(model)
    result = lens_view(model, task)
    at = int(result.read_at[0])
    with torch.no_grad():
        said = model(task.clean)[0, at].softmax(-1)
    np.testing.assert_allclose(result.top_prob[-1, at], said.topk(5).values, atol=1e-6)


def test_refusals(model, make_task):
    for wrong in ({"prompt": 5}, {"prompt": -1}, {"run": "patched"}, {"n_tokens": 0}):
        with pytest.raises(TaskError):
            lens_view(model, make_task(5), **wrong)
    with pytest.raises(TaskError):
        lens_view(model, make_task(1))
