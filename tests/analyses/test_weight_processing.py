"""What is read from weights is the same before and after folding LayerNorm and centring."""

import copy

import numpy as np
import pytest
import torch

from mechbench.analyses.common.direct import direct_effects
from mechbench.analyses.copy_scatter import copy_scatter
from mechbench.analyses.ov_copying import ov_copying
from mechbench.models.processing import Processing, process


@pytest.fixture
def processed(model):
    """The model, and the same model with every kind of processing."""
    with torch.no_grad():  # scales and shifts that folding has to move
        for norm in (model.ln_final, *(b.ln1 for b in model.blocks)):
            norm.w.add_(0.3 * torch.randn_like(norm.w))
    every = Processing(fold_ln=True, center_writing_weights=True, center_unembed=True)
    return model, process(copy.deepcopy(model), every)


@pytest.mark.parametrize("mlp0", [False, True])
def test_ov_blocks(processed, task, mlp0):
    raw, folded = (ov_copying(m, task, heads=["1.2"], mlp0=mlp0, n_random=1) for m in processed)
    np.testing.assert_allclose(raw.blocks, folded.blocks, atol=1e-5)
    assert (raw.provenance.processing, folded.provenance.processing) == (
        "none",
        "fold_ln+center_writing_weights+center_unembed",
    )


def test_copy_scatter_and_direct_effects(processed, task):
    raw, folded = (copy_scatter(m, task, heads=["2.1"]) for m in processed)
    np.testing.assert_allclose(raw.written, folded.written, atol=1e-5)
    np.testing.assert_allclose(*(direct_effects(m, task) for m in processed), atol=1e-5)
