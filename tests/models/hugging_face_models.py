"""Randomly initialised GPT-2 folders, written by Hugging Face itself."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

TINY = {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 24, "vocab_size": 97}


@torch.no_grad()
def write_gpt2(folder: Path, *, std: float = 0.2, **config) -> GPT2LMHeadModel:
    """A saved GPT-2 with weights, biases and norms far from their usual starting values."""
    sizes = {**TINY, "bos_token_id": 0, "eos_token_id": 0, **config}
    model = GPT2LMHeadModel(GPT2Config(**sizes)).eval()
    for name, weight in model.named_parameters():
        offset = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        weight.normal_(offset, std)
    model.save_pretrained(folder)
    return model
