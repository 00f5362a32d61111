"""Models whose every edge matters, in float64, and a bridged Llama with shared keys and values."""

import pytest
import torch
import transformers

from mechbench.models.loading import load_model
from tests.interventions.conftest import VOCAB, random_model


@pytest.fixture(scope="session")
def gpt2():
    return random_model(n_layers=2, n_heads=3, seed=5).double()


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return bridged_llama(2, tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def shallow_llama(tmp_path_factory):
    return bridged_llama(1, tmp_path_factory.mktemp("shallow"))


def bridged_llama(n_layers, folder):
    """Four query heads that share two keys and values, behind ``TransformerBridge``."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
    )
    module = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    module.save_pretrained(folder)
    return load_model(folder, device="cpu")
