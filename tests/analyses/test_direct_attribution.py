"""Direct attribution: exact sums, and TransformerLens' decomposition on folded models."""

import copy

import numpy as np
import pytest
import torch
from transformer_lens import ActivationCache

from mechbench.analyses.direct_attribution import direct_attribution
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.models.processing import Processing, process
from mechbench.results.direct_attribution import COMPONENT
from mechbench.tasks.metrics import answer_log_prob
from tests.analyses.reading_models import bridged, loud_norms, numbers


class LogProbOf:
    """A task read by the log-probability of its answers."""

    def __init__(self, task):
        self.task = task

    def __getattr__(self, name):
        return getattr(self.task, name)

    def __len__(self):
        return len(self.task)

    def metric(self):
        return answer_log_prob(self.task.pairs())


def own_logits(model, metric, prompts):
    """Logits ``[prompt answer vocab]`` by an ordinary forward."""
    with torch.no_grad():
        return torch.take_along_dim(model(prompts), metric.positions[..., None], dim=1)


@pytest.mark.parametrize("against", ["mean", "max"])
@pytest.mark.parametrize("heads", [True, False])
def test_parts_sum_to_the_logit_difference(model, task, against, heads):
    model = loud_norms(model).double()
    result = direct_attribution(model, task, against=against, heads=heads)
    metric = task.metric(against)
    expected = metric(own_logits(model, metric, task.clean)[..., metric.vocab])
    np.testing.assert_allclose(result.parts.sum(COMPONENT), expected, atol=1e-9)
    np.testing.assert_allclose(result.value, expected, atol=1e-9)
    assert result.largest_error < 1e-9
    labels = list(result.parts[COMPONENT].values)
    assert len(labels) == (2 + 3 * (4 + 1) + 3 if heads else 2 + 3 * 2 + 2)
    assert float(abs(result.parts.sel({COMPONENT: "final norm's bias"})).max()) > 0.1


def test_float32_sums_to_a_ten_thousandth(model, task):
    assert direct_attribution(loud_norms(model), task).largest_error < 1e-4


def test_a_log_probability_is_read_by_the_answers_logit(model):
    model = loud_norms(model).double()
    task = LogProbOf(numbers(model))
    result = direct_attribution(model, task)
    logits = own_logits(model, task.metric(), task.clean)
    expected = logits.gather(-1, task.pairs().answers[..., None])[..., 0]
    np.testing.assert_allclose(result.parts.sum(COMPONENT), expected, atol=1e-9)
    assert result.reading == "logit of the answer"


def test_parts_are_transformer_lens_attributions_on_a_folded_model(model):
    task = numbers(model)
    raw = loud_norms(model).double()
    every = Processing(fold_ln=True, center_writing_weights=True, center_unembed=True)
    folded = process(copy.deepcopy(raw), every)
    result = direct_attribution(folded, task)
    metric, pairs = task.metric(), task.pairs()
    _, cache = folded.run_with_cache(task.clean)
    assert isinstance(cache, ActivationCache)
    wrong = metric.vocab[metric.wrong][..., 0]
    at = pairs.answer_positions[0].tolist()
    heads, names = cache.stack_head_results(return_labels=True)
    parts, part_names = cache.decompose_resid(return_labels=True)
    renamed = [
        n.replace("_mlp_out", "").join(["mlp ", ""]) if "mlp" in n else n for n in part_names
    ]
    labels = [n[1:].replace("H", ".") for n in names] + renamed
    for answer, position in enumerate(at):
        stack = torch.cat([heads, parts])[:, :, position]
        expected = cache.logit_attrs(
            stack,
            pairs.answers[:, answer],
            wrong[:, answer],
            pos_slice=position,
        ).detach()
        for label, value in zip(labels, expected, strict=True):
            if "attn_out" not in label:
                found = result.parts.sel({COMPONENT: label})[:, answer]
                np.testing.assert_allclose(found, value, atol=1e-9, err_msg=label)


@pytest.mark.parametrize("options", [{}, {"fold_ln": True}])
def test_a_bridged_model_with_grouped_heads(tmp_path, options):
    model = bridged(tmp_path, **options)
    task = numbers(model)
    # 1e-6, because RMSNorm of this family computes in float32
    result = direct_attribution(model, task)
    metric = task.metric()
    expected = metric(own_logits(model, metric, task.clean)[..., metric.vocab])
    np.testing.assert_allclose(result.parts.sum(COMPONENT), expected, atol=1e-6)
    assert result.heads.shape == (3, 2, 4)
    # one head of a group, from its pattern and its group's values
    _, cache = model.run_with_cache(task.clean)
    at = metric.positions
    z = torch.einsum("bqk,bkc->bqc", cache["pattern", 1][:, 2], cache["v", 1][:, :, 1])
    written = torch.take_along_dim(z @ model.W_O[1, 2], at[..., None], dim=1)
    scale = torch.take_along_dim(cache["ln_final.hook_scale"], at[..., None], dim=1)
    W_U = model.W_U.T
    onto = W_U[metric.vocab[metric.correct]] - W_U[metric.vocab[metric.wrong][..., 0]]
    expected = (written / scale * model.ln_final.w * onto).sum(-1).detach()
    np.testing.assert_allclose(result.parts.sel({COMPONENT: "1.2"}), expected, atol=1e-6)


def test_parallel_blocks(tmp_path):
    model = bridged(tmp_path, "GPTNeoX")
    assert direct_attribution(model, numbers(model)).largest_error < 1e-9


def test_heads_behind_a_norm_and_capped_logits_are_refused(tmp_path):
    model = bridged(tmp_path, "Gemma2")
    with pytest.raises(UnsupportedHookError, match="Use heads=False"):
        direct_attribution(model, numbers(model))
    with pytest.raises(UnsupportedHookError, match="capped or scaled"):
        direct_attribution(model, numbers(model), heads=False)


def test_the_control_reads_the_next_prompts_answers(model, task):
    result = direct_attribution(model, task)
    metric = task.metric("mean")
    logits = own_logits(model, metric, task.clean)[..., metric.vocab]
    expected = float(metric(logits).mean())
    assert float(result.value_summary.sel(estimate="mean")) == pytest.approx(expected, abs=1e-4)
    letters = task.letters.roll(-1, 0)
    capitals = logits[..., torch.searchsorted(metric.vocab, task.capitals)]
    right = capitals.gather(-1, letters[..., None])[..., 0]
    shuffled = (right - (capitals.sum(-1) - right) / 25).mean()
    total = float(result.control.sel(estimate="mean").sum())
    assert total == pytest.approx(float(shuffled), abs=1e-4)


def test_an_unknown_reading(model, task):
    with pytest.raises(TaskError, match="use mean or max"):
        direct_attribution(model, task, against="median")
