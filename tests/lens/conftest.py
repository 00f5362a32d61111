"""GPT-2 with weights large enough that every patch has an effect, in float64."""

from types import SimpleNamespace

import pytest
import torch

from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from tests.reference.plain_gpt2 import PlainGPT2

SIZES = dict(n_layers=2, n_heads=3, d_model=12, d_mlp=16, d_vocab=29, n_ctx=12)
FORMS = {"tied": GPT2Config(**SIZES), "folded": GPT2Config(**SIZES, ln_folded=True, tied=False)}


def loud(model: GPT2) -> GPT2:
    """The model with every weight and bias drawn anew, so that no part of it is negligible."""
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            leaf = name.rsplit(".", 1)[-1]
            noise = torch.randn(weight.shape, generator=draw)
            weight.copy_(1 + 0.3 * noise if leaf == "w" else 0.45 * noise)
    return model


@pytest.fixture(params=FORMS, scope="module")
def case(request):
    """A model, its plain twin, two batches of prompts and their caches; ``diff`` reads logits."""
    model = loud(GPT2(FORMS[request.param])).double()
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = torch.randint(0, SIZES["d_vocab"], (2, 2, 5), generator=draw)
    clean[:, 0] = corrupt[:, 0] = 28
    with torch.no_grad():
        clean_cache = model.run_with_cache(clean)[1]
        corrupt_cache = model.run_with_cache(corrupt)[1]
    plain = PlainGPT2(model)
    return SimpleNamespace(
        model=model,
        plain=plain,
        clean=clean,
        corrupt=corrupt,
        clean_cache=clean_cache,
        corrupt_cache=corrupt_cache,
        plain_clean=plain.cache(clean),
        plain_corrupt=plain.cache(corrupt),
    )


def logit_diff(logits: torch.Tensor) -> torch.Tensor:
    """Logit of token 3 minus that of token 11 at the last position, ``[batch]``."""
    return logits[:, -1, 3] - logits[:, -1, 11]


@pytest.fixture
def diff():
    return logit_diff
