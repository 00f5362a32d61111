"""Kept work is told apart by all weights, not by the embedding alone."""

import torch

from mechbench.models.fingerprint import weight_fingerprint
from mechbench.models.variants.gpt2 import GPT2, TINY


def make(name="tiny"):
    torch.manual_seed(0)
    return GPT2(TINY, name)


@torch.no_grad()
def test_any_weight_changes_it_and_loading_again_does_not():
    first = weight_fingerprint(make())
    assert weight_fingerprint(make()) == first
    assert weight_fingerprint(make("other")) != first
    for name, _ in make().named_parameters():
        changed = make()
        weight = dict(changed.named_parameters())[name]
        weight[(0,) * weight.dim()] += 0.01
        assert weight_fingerprint(changed) != first, name
