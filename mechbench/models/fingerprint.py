"""Telling one model's weights from another's, for work that is kept on disk."""

import hashlib

import torch


@torch.no_grad()
def weight_fingerprint(model) -> str:
    """Hexadecimal text that changes with the model's name, its weights' names, shapes or values.

    Of every weight the sum and the sum of absolute values are taken, in float64: a fine-tuned model
    differs, and nothing is copied off its device.

    Source: our choice.
    """
    digest = hashlib.sha256(repr((model.cfg.model_name, model.source.processing)).encode())
    for name, weight in model.named_parameters():
        sums = [weight.sum(dtype=torch.float64), weight.abs().sum(dtype=torch.float64)]
        told = (name, tuple(weight.shape), *(value.item() for value in sums))
        digest.update(repr(told).encode())
    return digest.hexdigest()
