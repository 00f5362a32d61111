"""QK and OV circuits against TransformerLens' FactoredMatrix and planted circuits."""

import copy

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

from mechbench.analyses.common.low_rank import low_rank_svd
from mechbench.analyses.direct_attribution import direct_attribution
from mechbench.analyses.head_circuits import head_circuits
from mechbench.errors import TaskError, TokenizerError, UnsupportedHookError
from mechbench.models.processing import Processing, process
from tests.analyses.reading_models import Numerals, bridged, loud_norms, numbers

_EVERY = Processing(fold_ln=True, center_writing_weights=True, center_unembed=True)


@pytest.fixture
def processed(model):
    """A model in float64 with loud norms, and the same model folded and centred."""
    model = loud_norms(model).double()
    return model, process(copy.deepcopy(model), _EVERY)


def circuits(folded, layer, head):
    ov = FactoredMatrix(folded.W_V[layer, head], folded.W_O[layer, head])
    return {"QK": FactoredMatrix(folded.W_Q[layer, head], folded.W_K[layer, head].T), "OV": ov}


def test_low_rank_svd_multiplies_back():
    A, B = torch.randn(9, 4).double(), torch.randn(4, 7).double()
    U, S, V = low_rank_svd(A, B)
    torch.testing.assert_close(U * S @ V.T, A @ B, rtol=0, atol=1e-12)
    torch.testing.assert_close(U.T @ U, torch.eye(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(S, torch.linalg.svdvals(A @ B)[:4], rtol=0, atol=1e-12)


@pytest.mark.parametrize("circuit", ["QK", "OV"])
def test_svd_is_transformer_lens_factored_matrix(processed, task, circuit):
    for model in processed:
        result = head_circuits(model, task, heads=["1.3", "2.0"], n_top=4, n_vectors=2)
        folded = processed[1]
        for label, place in (("1.3", (1, 3)), ("2.0", (2, 0))):
            U, S, V = (t.detach() for t in circuits(folded, *place)[circuit].svd())
            at = result.singular.sel(head=label, circuit=circuit)
            np.testing.assert_allclose(at, S, atol=1e-9)
            right = folded.W_E if circuit == "QK" else folded.W_U.T
            for vector in range(2):
                left_along, right_along = folded.W_E @ U[:, vector], right @ V[:, vector]
                flip = left_along[left_along.abs().argmax()].sign()
                for side, along in (("left", left_along * flip), ("right", right_along * flip)):
                    for sign, signed in (("+", along), ("-", -along)):
                        best = signed.detach().topk(4)
                        end = {"vector": vector, "side": side, "sign": sign}
                        tokens = result.top_token.sel(head=label, circuit=circuit, **end)
                        assert list(tokens.values) == [f"#{i}" for i in best.indices.tolist()]
                        values = result.top_value.sel(head=label, circuit=circuit, **end)
                        np.testing.assert_allclose(values, best.values, atol=1e-9)


def test_token_blocks_are_the_factored_matrices(processed, task):
    rows, columns = [3, 8, 40], [8, 3, 90, 11]
    model, folded = processed
    result = head_circuits(model, task, heads=["2.1"], tokens=rows, onto=columns)
    both = circuits(folded, 2, 1)
    qk = folded.W_E[rows] @ both["QK"] @ folded.W_E[columns].T
    ov = folded.W_E[rows] @ both["OV"] @ folded.W_U[:, columns]
    np.testing.assert_allclose(result.qk[0], qk.AB.detach(), atol=1e-9)
    np.testing.assert_allclose(result.ov[0], ov.AB.detach(), atol=1e-9)
    assert list(result.qk["key"].values) == ["#8", "#3", "#90", "#11"]
    best = ov.AB.argmax(1).tolist()
    expected = np.mean([best[0] == 1, best[1] == 0])  # token 40 is not among the columns
    assert float(result.copied[0]) == expected


def test_a_planted_copying_head(planted, task):
    result = head_circuits(
        planted,
        task,
        heads=["1.1", "1.0"],
        tokens=task.spaced_capitals.tolist(),
        onto=task.capitals.tolist(),
    )
    hits = (result.ov.argmax("written") == np.arange(26)).mean("attended")
    assert hits.sel(head="1.1") == 1 and hits.sel(head="1.0") < 0.5
    assert result.copied.isnull().all()  # no attended token is among the written ones


def test_grouped_heads_read_their_own_group(tmp_path):
    model = bridged(tmp_path)
    result = head_circuits(model, numbers(model), heads=["0.1", "1.2"], tokens=[5, 6, 7])
    assert result.kv_heads == (0, 1)
    w = model.blocks[1].ln1.w[:, None].detach()
    W_Q, W_K, W_V, W_O = (t.detach()[1] for t in (model.W_Q, model.W_K, model.W_V, model.W_O))
    qk = (w * W_Q[2]) @ (w * W_K[1]).T
    ov = (w * W_V[1]) @ W_O[2]
    for name, full in (("QK", qk), ("OV", ov)):
        found = result.singular.sel(head="1.2", circuit=name)
        np.testing.assert_allclose(found, torch.linalg.svdvals(full)[:8], atol=1e-5)
    E = model.W_E.detach()[[5, 6, 7]]
    np.testing.assert_allclose(result.qk.sel(head="1.2"), E @ qk @ E.T, atol=1e-4)


def test_heads_are_chosen_by_direct_attribution(model, task):
    result = head_circuits(model, task)
    heads = direct_attribution(model, task).heads.sel(estimate="mean")
    order = np.argsort(-abs(heads.values.ravel()))[:4]
    assert result.heads == tuple(f"{i // 4}.{i % 4}" for i in order)
    assert result.chosen_by == "largest direct attribution"
    answers = sorted(set(task.answers.flatten().tolist()))
    assert list(result.qk["query"].values) == [f"#{i}" for i in answers]


def test_gaussian_heads_are_the_control(make_model, task):
    model = make_model(n_heads=2, d_model=64)
    with torch.no_grad():
        for name in ("W_Q", "W_K"):
            getattr(model.blocks[1].attn, name).normal_()
        model.blocks[1].ln1.w.fill_(1)
    result = head_circuits(model, task, heads=["1.0"], n_random=100)
    values = result.singular.sel(head="1.0", circuit="QK")
    shares = values / np.sqrt((values**2).sum())
    low, high = result.control.sel(estimate="low"), result.control.sel(estimate="high")
    assert float(((shares > low) & (shares < high)).mean()) > 0.6
    np.testing.assert_allclose((result.control.sel(estimate="mean") ** 2).sum(), 1, atol=0.02)


def test_text_names_one_token(model, task):
    model.tokenizer = Numerals(model.cfg.d_vocab)
    result = head_circuits(model, task, heads=["0.0"], tokens=["7", 9])
    assert list(result.ov["attended"].values) == ["7", "9"]
    with pytest.raises(TokenizerError, match="must be one"):
        head_circuits(model, task, heads=["0.0"], tokens=["7 9"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": [3, 3]}, "each token once"),
        ({"tokens": [101]}, "0..100"),
        ({"tokens": []}, "at least one"),
        ({"n_top": 0}, "at least 1"),
    ],
)
def test_bad_options(model, task, options, message):
    with pytest.raises(TaskError, match=message):
        head_circuits(model, task, heads=["0.0"], **options)


def test_models_whose_heads_cannot_be_read(tmp_path):
    model = bridged(tmp_path, "Gemma2")
    with pytest.raises(UnsupportedHookError, match="do not write straight"):
        head_circuits(model, numbers(model), heads=["0.0"])
