"""Continuing after a state was overwritten: in every variant what one hooked generation gives."""

import pytest
import torch

from mechbench.interventions.patched_generation import StatePatch, generate_patched
from mechbench.models.generation import generate

N_NEW = 3


@pytest.mark.parametrize("position", [0, 5, 8])
def test_rows_side_by_side_are_hooked_generations(model, tokens, position):
    if not model.capabilities.causal:
        pytest.skip(f"{model.cfg.model_name} is not causal")
    prompts, n_layers = list(tokens[0][:2]), model.cfg.n_layers
    states = torch.randn(n_layers, model.cfg.d_model)
    patches = [StatePatch(p, layer, position, layer) for p in (0, 1) for layer in range(n_layers)]
    found = generate_patched(model, prompts, states, patches, max_new_tokens=N_NEW)
    for patch, row in zip(patches, found.tokens, strict=True):

        def write(resid, hook, patch=patch):
            resid = resid.clone()
            resid[:, position] = states[patch.state]
            return resid

        name = f"blocks.{patch.layer}.hook_resid_post"
        alone = generate(
            model, prompts[patch.prompt][None], max_new_tokens=N_NEW, fwd_hooks=[(name, write)]
        )
        assert torch.equal(alone.tokens[0][-N_NEW:], row), patch


def test_models_that_can_branch_do(model, tokens):
    can = model.capabilities
    found = generate_patched(
        model, [tokens[0][0]], torch.zeros(1, model.cfg.d_model), [StatePatch(0, 0, 4, 0)]
    )
    branches = can.restart_at_layer and can.restart_at_position and can.incremental and can.causal
    assert found.method.startswith("wavefront") == branches
