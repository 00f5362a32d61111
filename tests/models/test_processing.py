"""Folding and centring change the weights and no probability."""

import pytest
import torch

from mechbench.errors import SpecError
from mechbench.models import processing as module
from mechbench.models.loading import load_model
from mechbench.models.processing import Processing, process
from tests.models.hugging_face_models import TINY, write_gpt2

STEPS = ("fold_ln", "center_writing_weights", "center_unembed")
CHOICES = [{STEPS[0]}, {STEPS[1]}, {STEPS[2]}, {STEPS[0], STEPS[2]}, set(STEPS)]
TOKENS = torch.randint(TINY["vocab_size"], (3, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(tmp_path, request):
    write_gpt2(tmp_path, tie_word_embeddings=request.param)
    return load_model(tmp_path, dtype="float64")


@pytest.mark.parametrize("steps", CHOICES, ids="+".join)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@torch.no_grad()
def test_log_probabilities_stay(model, steps, dtype, tolerance):
    model = model.to(dtype)
    before = {name: w.clone() for name, w in model.state_dict().items()}
    new = process(model, Processing(**dict.fromkeys(steps, True)))
    difference = model(TOKENS).log_softmax(-1) - new(TOKENS).log_softmax(-1)
    assert difference.abs().max() < tolerance
    if "center_unembed" not in steps:
        assert (model(TOKENS) - new(TOKENS)).abs().max() < tolerance
    assert all(torch.equal(before[name], w) for name, w in model.state_dict().items())
    assert new.source.processing == tuple(s for s in STEPS if s in steps)
    assert new.config.ln_folded == ("fold_ln" in steps) and not new.config.tied


@torch.no_grad()
def test_what_each_step_promises(model):
    folded = process(model, Processing(fold_ln=True))
    assert folded.cfg.normalization_type == "LNPre"
    assert not any("ln1.w" in name or "ln_final" in name for name in folded.state_dict())
    # of the first MLP's weights, from the definition: scale the rows, then centre the columns
    block = model.blocks[0]
    scaled = block.ln2.w[:, None] * block.mlp.W_in
    assert torch.allclose(folded.blocks[0].mlp.W_in, scaled - scaled.mean(0), atol=1e-12)
    assert torch.allclose(
        folded.blocks[0].mlp.b_in, block.mlp.b_in + block.ln2.b @ block.mlp.W_in, atol=1e-12
    )
    centred = process(model, Processing(center_writing_weights=True, center_unembed=True))
    _, cache = centred.run_with_cache(TOKENS)
    for layer in range(3):
        for point in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"):
            assert cache[point, layer].mean(-1).abs().max() < 1e-12
    assert centred(TOKENS).mean(-1).abs().max() < 1e-12


def test_load_model_processes_in_single_precision_at_least(tmp_path):
    write_gpt2(tmp_path, std=0.05)
    exact = load_model(tmp_path, dtype="float32", fold_ln=True, center_writing_weights=True)
    half = load_model(tmp_path, dtype="bfloat16", fold_ln=True, center_writing_weights=True)
    assert half.source.processing == ("fold_ln", "center_writing_weights")
    for name, weight in exact.state_dict().items():
        assert torch.equal(weight.bfloat16(), half.state_dict()[name]), name


def test_folding_twice_or_without_a_declaration_is_refused(model, monkeypatch):
    folded = process(model, Processing(fold_ln=True))
    with pytest.raises(SpecError, match="folded already"):
        process(folded, Processing(fold_ln=True))
    monkeypatch.setattr(module, "spec_of", lambda model: None)
    with pytest.raises(SpecError, match="cannot be folded or centred"):
        process(model, Processing(center_unembed=True))
