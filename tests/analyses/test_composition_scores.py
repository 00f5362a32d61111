"""Composition scores against full matrices and TransformerLens, and on planted composition."""

import copy

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix
from transformer_lens.utilities import composition_scores as their_scores

from mechbench.analyses.common.heads import head_label
from mechbench.analyses.composition_scores import composition_scores
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.models.processing import Processing, process
from tests.analyses.reading_models import bridged, loud_norms, numbers

_EVERY = Processing(fold_ln=True, center_writing_weights=True, center_unembed=True)


@torch.no_grad()
def full_matrix_score(model, mode, sender, receiver):
    """The definition, with every d_model x d_model matrix written out."""
    groups = model.cfg.n_heads // model.W_K.shape[1]

    def maps(layer, head):
        w = model.blocks[layer].ln1.w
        if model.cfg.normalization_type.startswith("LN"):
            centre = torch.eye(len(w), dtype=w.dtype) - 1 / len(w)
        else:
            centre = torch.eye(len(w), dtype=w.dtype)
        read = centre * w
        kv = head // groups
        ov = read @ model.W_V[layer, kv] @ model.W_O[layer, head] @ centre
        qk = read @ model.W_Q[layer, head] @ model.W_K[layer, kv].T @ read.T
        return ov, qk

    ov, _ = maps(*sender)
    later_ov, later_qk = maps(*receiver)
    right = {"Q": later_qk, "K": later_qk.T, "V": later_ov}[mode]
    return float((ov @ right).norm() / ov.norm() / right.norm())


PAIRS = [((0, 1), (1, 3)), ((0, 3), (1, 0)), ((0, 2), (1, 2))]


@pytest.mark.parametrize("mode", "QKV")
def test_the_full_matrices(model, task, mode):
    model = loud_norms(model).double()
    result = composition_scores(model, task, n_random=2)
    for sender, receiver in [*PAIRS, ((1, 2), (2, 0)), ((0, 0), (2, 3))]:
        labels = {"sender": head_label(sender), "receiver": head_label(receiver)}
        expected = full_matrix_score(model, mode, sender, receiver)
        assert float(result.scores.sel(mode=mode, **labels)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("mode", "QKV")
def test_grouped_heads_of_a_bridged_model(tmp_path, mode):
    model = bridged(tmp_path)
    result = composition_scores(model, numbers(model), n_random=2)
    for sender, receiver in PAIRS:
        labels = {"sender": head_label(sender), "receiver": head_label(receiver)}
        found = float(result.scores.sel(mode=mode, **labels))
        assert found == pytest.approx(full_matrix_score(model, mode, sender, receiver), abs=1e-6)


@pytest.mark.parametrize("mode", "QKV")
def test_transformer_lens_on_a_folded_bridged_model(tmp_path, mode):
    model = bridged(tmp_path, fold_ln=True)
    result = composition_scores(model, numbers(model), n_random=2)
    theirs = model.bridge.all_composition_scores(mode).scores.flatten(2, 3).flatten(0, 1).detach()
    ours = result.scores.sel(mode=mode).fillna(0)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("mode", "QKV")
def test_transformer_lens_on_a_folded_model_and_the_same_before_folding(model, task, mode):
    model = loud_norms(model).double()
    folded = process(copy.deepcopy(model), _EVERY)
    ov = FactoredMatrix(folded.W_V, folded.W_O)
    qk = FactoredMatrix(folded.W_Q, folded.W_K.transpose(-1, -2))
    expected = their_scores(ov, {"Q": qk, "K": qk.T, "V": ov}[mode]).detach()
    expected = expected.flatten(2, 3).flatten(0, 1)
    for subject in (model, folded):
        scores = composition_scores(subject, task, n_random=2).scores.sel(mode=mode)
        known = scores.notnull().values
        assert known.sum() == 3 * 16
        np.testing.assert_allclose(scores.values[known], expected.numpy()[known], atol=1e-9)


def test_a_planted_previous_token_head_composes_with_keys(make_model, task):
    model = make_model(n_heads=2, d_model=64)
    with torch.no_grad():
        spread = torch.linalg.qr(torch.randn(64, 64))[0]
        into, out = spread[:, :32], spread[:, 32:]
        model.blocks[0].attn.W_V[1], model.blocks[0].attn.W_O[1] = into, out.T
        model.blocks[1].attn.W_K[0] = out
    result = composition_scores(model, task, n_random=30)
    first = result.excess.sel(sender=["0.0", "0.1"], receiver=["1.0", "1.1"])
    best = first.where(first == first.max(), drop=True)
    assert (str(best["mode"][0].values), str(best.sender[0].values)) == ("K", "0.1")
    assert str(best.receiver[0].values) == "1.0"
    pair = {"sender": "0.1", "receiver": "1.0"}
    assert float(result.scores.sel(mode="K", **pair)) > float(result.control.max()) + 0.03


def test_gaussian_heads_score_like_the_control(make_model, task):
    model = make_model(n_heads=2, d_model=64)
    with torch.no_grad():
        for block in model.blocks:
            for weight in (block.attn.W_Q, block.attn.W_K, block.attn.W_V, block.attn.W_O):
                weight.normal_()
            block.ln1.w.fill_(1)
    result = composition_scores(model, task, n_random=60)
    assert abs(float(result.excess.mean())) < 0.005 < float(result.control.mean())


def test_refusals(model, task, tmp_path):
    with pytest.raises(TaskError, match="at least 2"):
        composition_scores(model, task, n_random=1)
    other = bridged(tmp_path, "Gemma2")
    with pytest.raises(UnsupportedHookError, match="do not write straight"):
        composition_scores(other, numbers(other))


def test_partners_of_a_head_are_the_highest_of_its_scores(model, task):
    result = composition_scores(model, task, n_random=5)
    found = result.partners("1.0", n=4)
    own = [
        (float(result.scores.sel(mode=mode, sender=sender, receiver=receiver)), mode, other)
        for mode in ("Q", "K", "V")
        for other in result.scores.sender.values
        for sender, receiver in ((other, "1.0"), ("1.0", other))
    ]
    best = sorted((score for score, *_ in own if score == score), reverse=True)[:4]
    assert [p.score for p in found] == best
    assert all("1.0" in (p.sender, p.receiver) for p in found)
    assert found[0].times == found[0].score / float(result.control.mean())
    assert len({(p.mode, p.sender, p.receiver) for p in found}) == 4
