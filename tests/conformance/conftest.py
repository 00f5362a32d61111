"""Every registered variant in its ``tiny`` presets, with weights that make every part matter."""

from dataclasses import replace

import pytest
import torch

from mechbench.models.registry import VARIANTS


@torch.no_grad()
def loud(model):
    """The model with weights and biases drawn anew: none is zero and none is negligible."""
    draw = torch.Generator().manual_seed(5)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=draw)
        weight.copy_(1 + 0.2 * noise if name.endswith(".w") else 0.2 * noise)
    return model


FORMS = {
    f"{spec.name}-{preset}": replace(spec, presets={"tiny": config})
    for spec in VARIANTS
    for preset, config in spec.presets.items()
    if preset.startswith("tiny")
}
"""Each with one preset, called ``tiny``: a variant may have several forms to be checked."""


@pytest.fixture(params=FORMS, scope="session")
def spec(request):
    return FORMS[request.param]


@pytest.fixture
def build(spec):
    """A function that makes the same model anew."""
    return lambda: loud(spec.build(spec.presets["tiny"]))


@pytest.fixture
def model(build):
    return build()


@pytest.fixture
def claims(model):
    """Skips a check of a claim that the variant does not make."""

    def require(claim):
        if not getattr(model.capabilities, claim):
            pytest.skip(f"{model.cfg.model_name} does not claim {claim}")

    return require


@pytest.fixture
def tokens(model):
    """Two different batches of three prompts of nine tokens."""
    draw = torch.Generator().manual_seed(11)
    clean, other = torch.randint(0, model.cfg.d_vocab, (2, 3, 9), generator=draw)
    assert (clean != other).any(0).all()
    return clean, other


@pytest.fixture
def run(model):
    """Logits and the cache of every hook point that fires, without gradients."""

    def run(ids):
        with torch.no_grad():
            return model.run_with_cache(ids)

    return run
