"""Head scores against TransformerLens' head detector and eigenvalues, and on planted heads."""

import copy

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix
from transformer_lens.head_detector import detect_head

from mechbench.analyses.common.attention_kinds import uniform_attention, wanted_keys
from mechbench.analyses.head_scores import head_scores
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.models.processing import Processing, process
from mechbench.results.head_scores import DUPLICATE, INDUCTION, KIND, PREVIOUS
from mechbench.tasks.induction import induction
from tests.analyses.reading_models import Numerals, bridged, loud_norms, numbers

_DETECTORS = {
    PREVIOUS: "previous_token_head",
    DUPLICATE: "duplicate_token_head",
    INDUCTION: "induction_head",
}


@pytest.mark.parametrize("kind", _DETECTORS)
def test_attention_is_transformer_lens_head_detector(model, kind):
    """Its "mul" measure, with neither BOS nor the current token excluded."""
    model = loud_norms(model)
    model.tokenizer = Numerals(model.cfg.d_vocab)
    task = induction(model.tokenizer, n=3, half_length=8, seed=4)
    result = head_scores(model, task, n=3, half_length=8, seed=4, n_tokens=0, n_random=0)
    texts = [model.tokenizer.decode(row[1:].tolist()) for row in task.clean]
    expected = detect_head(model, texts, _DETECTORS[kind], error_measure="mul")
    np.testing.assert_allclose(result.detected.sel({KIND: kind}), expected, atol=1e-6)
    # the main score leaves out queries that have nothing to attend to
    queries = {PREVIOUS: 16, DUPLICATE: 8, INDUCTION: 8}[kind]
    mean = result.scores.sel({KIND: kind, "estimate": "mean"})
    np.testing.assert_allclose(mean, expected * 17 / queries, atol=1e-5)


def test_wanted_keys_by_hand():
    wanted = wanted_keys(torch.tensor([[7, 8, 8, 7, 9]]))
    pairs = [[tuple(p) for p in kind[0].nonzero().tolist()] for kind in wanted]
    assert pairs[0] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert pairs[1] == [(2, 1), (3, 0)]
    assert pairs[2] == [(2, 2), (3, 1)]  # the token after an earlier copy, the query itself too
    even = uniform_attention(wanted)
    expected = [(1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4, (1 / 3 + 1 / 4) / 2, (1 / 3 + 1 / 4) / 2]
    torch.testing.assert_close(even, torch.tensor(expected, dtype=torch.float64))


def test_planted_heads_stand_out(planted, task):
    result = head_scores(planted, task, on="task", n_random=5)
    mean = result.scores.sel(estimate="mean")
    previous = mean.sel({KIND: PREVIOUS})
    assert previous[0, 0] > 0.9 and previous[1:].max() < 0.5
    assert result.prompts == "5 prompts of 11 tokens of acronyms"


def test_without_repetition_the_control_is_low(planted):
    """A head whose keys are tokens and whose queries the same tokens finds the duplicates."""
    attn = planted.blocks[1].attn
    with torch.no_grad():
        planted.W_E.normal_()
        planted.pos_embed.W_pos.zero_()
        attn.W_Q[0] = attn.W_K[0] = torch.linalg.qr(torch.randn(64, 32))[0] * 4
        attn.b_K[0] = attn.b_Q[0] = 0
    task = numbers(planted)
    result = head_scores(planted, task, n=6, half_length=8, n_tokens=0, n_random=0)
    at = {KIND: DUPLICATE, "layer": 1, "head": 0, "estimate": "mean"}
    assert result.scores.sel(at) > 0.3 > 3 * result.control.sel(at)
    assert result.copied is None and result.copying_control.size == 0


@pytest.mark.parametrize("processed", [True, False])
def test_copying_is_transformer_lens_eigenvalues(model, processed):
    raw = loud_norms(model).double()
    every = Processing(fold_ln=True, center_writing_weights=True, center_unembed=True)
    folded = process(copy.deepcopy(raw), every)
    subject = folded if processed else raw
    result = head_scores(subject, numbers(subject), n=2, half_length=4, n_random=3)
    for layer, head in [(0, 1), (2, 3)]:
        ov = FactoredMatrix(folded.W_V[layer, head], folded.W_O[layer, head])
        full = (folded.W_E @ ov @ folded.W_U).eigenvalues.detach()
        expected = float(full.real.sum() / full.abs().sum())
        assert float(result.copying[layer, head]) == pytest.approx(expected, abs=1e-9)
        spectrum = torch.linalg.eigvals((folded.W_E @ ov.AB @ folded.W_U).detach())
        slow = float(spectrum.real.sum() / spectrum.abs().sum())
        assert slow == pytest.approx(expected, abs=1e-6)


def test_copied_tokens_by_the_whole_matrix(model):
    model = loud_norms(model)
    result = head_scores(
        model, numbers(model), n=2, half_length=4, n_tokens=1000, n_top=3, n_random=0
    )
    assert result.n_tokens == 101
    every = Processing(fold_ln=True, center_writing_weights=True, center_unembed=True)
    folded = process(copy.deepcopy(model).double(), every)
    logits = folded.W_E @ folded.W_V[1, 2] @ folded.W_O[1, 2] @ folded.W_U
    best = logits.topk(3, dim=1).indices
    expected = (best == torch.arange(101)[:, None]).any(1).double().mean()
    assert float(result.copied.sel(estimate="mean")[1, 2]) == pytest.approx(float(expected))


def test_a_planted_copying_head_scores_one(planted, task):
    with torch.no_grad():
        basis = torch.randn(64, 32)
        attn = planted.blocks[1].attn
        attn.W_V[0], attn.W_O[0] = basis, basis.T
        planted.unembed.W_U.copy_(planted.W_E.T)
    result = head_scores(planted, task, n=2, half_length=4, n_random=20)
    assert float(result.copying[1, 0]) > 0.99 > float(result.copying_control.max())


def test_a_bridged_model_with_grouped_heads(tmp_path):
    model = bridged(tmp_path)
    task = numbers(model)
    result = head_scores(model, task, on="task", n_random=2)
    assert result.scores.shape == (3, 3, 2, 4) and result.copying.shape == (2, 4)
    _, cache = model.run_with_cache(task.clean)
    pattern = cache["pattern", 1][:, 3]
    expected = torch.stack([pattern[:, i, i - 1] for i in range(1, 13)]).mean()
    found = result.scores.sel({KIND: PREVIOUS, "estimate": "mean"})[1, 3]
    assert float(found) == pytest.approx(float(expected), abs=1e-6)
    ln1, ln_final = model.blocks[1].ln1.w[:, None], model.ln_final.w[:, None]
    U = ln_final * (model.W_U - model.W_U.mean(1, keepdim=True))
    full = model.W_E @ (ln1 * model.W_V[1, 1]) @ model.W_O[1, 2] @ U
    spectrum = torch.linalg.eigvals(full.detach())
    slow = float(spectrum.real.sum() / spectrum.abs().sum())
    assert float(result.copying[1, 2]) == pytest.approx(slow, abs=1e-4)


def test_heads_behind_a_norm_are_refused(tmp_path):
    model = bridged(tmp_path, "Gemma2")
    with pytest.raises(UnsupportedHookError, match="do not write straight"):
        head_scores(model, numbers(model), n=2, half_length=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "text"}, "use 'random' or 'task'"),
        ({"half_length": 40, "n": 2}, "needs 80 different tokens|does not fit"),
        ({"n_top": 0}, "at least 1"),
    ],
)
def test_bad_options(model, task, options, message):
    with pytest.raises(TaskError, match=message):
        head_scores(model, task, **options)
