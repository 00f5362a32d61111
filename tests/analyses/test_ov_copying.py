"""OV blocks against TransformerLens' FactoredMatrix and planted copying."""

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

from mechbench.analyses.ov_copying import ov_copying
from mechbench.errors import UnsupportedHookError


@pytest.mark.parametrize("source, target", [("X", "X"), ("␠X", "X"), ("␠X", "␠X")])
def test_blocks_are_the_factored_matrix(model, task, source, target):
    result = ov_copying(model, task, heads=["1.3", "2.1"], n_random=2)
    ids = {"X": task.capitals, "␠X": task.spaced_capitals}
    model = model.double()
    ov = FactoredMatrix(model.W_V[1, 3], model.W_O[1, 3])
    x = model.W_E[ids[source]]
    x = (x - x.mean(-1, keepdim=True)) * model.blocks[1].ln1.w
    centre = torch.eye(32) - 1 / 32
    read = (centre.double() * model.ln_final.w) @ (model.W_U - model.W_U.mean(1, keepdim=True))
    expected = (x @ ov @ read[:, ids[target]]).AB.detach()
    found = result.blocks.sel(source=source, target=target)
    np.testing.assert_allclose(found.sel(member="1.3"), expected, atol=1e-5)
    np.testing.assert_allclose(
        found.sel(member="sum"), found.sel(member=["1.3", "2.1"]).sum("member"), atol=1e-9
    )
    rows = sum(int(row.argmax()) == i for i, row in enumerate(expected))
    assert result.head_scores.sel(source=source, target=target)[1, 3] == rows / 26
    score = result.score.sel(estimate="mean", source=source, target=target, member="1.3")
    assert score == rows / 26


def test_mlp_0_is_the_first_block_without_attention(model, task):
    result = ov_copying(model, task, heads=["1.3"], mlp0=True, n_random=2)
    block = model.blocks[0]
    with torch.no_grad():
        x = model.W_E[task.spaced_capitals]
        x = x + block.mlp(block.ln2(x))
        x = (x - x.mean(-1, keepdim=True)) * model.blocks[1].ln1.w
        x = x @ model.W_V[1, 3] @ model.W_O[1, 3]
        x = (x - x.mean(-1, keepdim=True)) * model.ln_final.w
        logits = x @ model.W_U
        expected = (logits - logits.mean(-1, keepdim=True))[:, task.capitals]
    found = result.blocks.sel(source="␠X", target="X", member="1.3")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert result.embedding == "W_E through MLP 0"


def test_a_planted_copying_head_scores_26(make_model, task):
    model = make_model(d_model=64)
    with torch.no_grad():
        shared = torch.linalg.qr(torch.randn(64, 26))[0].T  # one direction per letter
        model.W_E[task.capitals] = shared
        model.W_E[task.spaced_capitals] = shared
        attn = model.blocks[1].attn
        basis = torch.randn(64, 16)
        attn.W_V[2], attn.W_O[2] = basis, basis.T
        attn.W_O[1] = -attn.W_O[2]
        attn.W_V[1] = attn.W_V[2]
    result = ov_copying(model, task, heads=["1.2", "1.1"], n_random=4)
    means = result.score.sel(estimate="mean", source="␠X", target="X")
    assert means.sel(member="1.2") == 1 and means.sel(member="1.1") == 0
    assert result.control.mean() < 0.8


def test_norms_without_centring_are_refused(model, task):
    model.cfg.normalization_type = "RMS"
    with pytest.raises(UnsupportedHookError, match="normalises with 'RMS'"):
        ov_copying(model, task, heads=["1.1"])
