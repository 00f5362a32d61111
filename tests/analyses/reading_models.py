"""Models and tasks for tests of head and component reading."""

from collections.abc import Mapping
from pathlib import Path

import torch
import transformers

from mechbench.models.base import HookedModel
from mechbench.models.loading import load_model
from mechbench.tasks.induction import InductionTask, induction

_SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=48,
    bos_token_id=1,
    eos_token_id=2,
)
_KINDS = {
    "Llama": dict(num_key_value_heads=2),
    "GPTNeoX": {},
    "Gemma2": dict(num_key_value_heads=2, head_dim=8, pad_token_id=0, final_logit_softcapping=2.0),
}


@torch.no_grad()
def bridged(
    folder: Path, kind: str = "Llama", sizes: Mapping[str, int] | None = None, **options
) -> HookedModel:
    """A random model of another architecture in float64, its norms far from ones."""
    config = getattr(transformers, f"{kind}Config")(**_SIZES | _KINDS[kind] | (sizes or {}))
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    return load_model(folder, dtype="float64", device="cpu", **options)


class Numerals:
    """A tokenizer of numerals with spaces between them; BOS is 0."""

    bos_token_id = 0
    all_special_ids = (0,)
    name_or_path = "numerals"

    def __init__(self, size: int):
        self.size = size

    def __len__(self):
        return self.size

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids):
        return " ".join(map(str, ids))


def numbers(model: HookedModel, n: int = 4, half_length: int = 6) -> InductionTask:
    """Induction prompts for a model without a tokenizer; BOS is 0."""
    return induction(n=n, half_length=half_length, vocab=model.cfg.d_vocab, bos=0)


def loud_norms(model: HookedModel) -> HookedModel:
    """The model with every norm's scale and shift away from one and zero."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".ln" in f".{name}":
                weight.add_(0.3 * torch.randn_like(weight))
    return model
