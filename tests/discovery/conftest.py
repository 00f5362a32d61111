"""Small random models in float64, ours and Hugging Face's, and prompts for them."""

from dataclasses import replace

import pytest
import torch
import transformers
from transformers.models.llama import modeling_llama

from mechbench.models.loading import load_model
from mechbench.models.variants.gpt2 import SPEC
from mechbench.tasks.metrics import logit_difference
from mechbench.tasks.pairs import PromptPairs
from tests.interventions.conftest import VOCAB as SMALL_VOCAB
from tests.interventions.conftest import random_model

VOCAB = 61
BRIDGED = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=32,
    bos_token_id=1,
    eos_token_id=2,
)
KINDS = {"Llama": dict(BRIDGED, num_key_value_heads=2), "GPTNeoX": BRIDGED}
MODELS = ("gpt2", "gpt2 folded", *KINDS)


@torch.no_grad()
def our_model(**changes):
    """GPT-2, its weights large enough that every edge matters."""
    torch.manual_seed(1)
    model = SPEC.build(replace(SPEC.presets["tiny"], d_vocab=VOCAB, n_layers=2, **changes))
    for name, weight in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        weight.add_(torch.randn_like(weight) * (0.2 if leaf.startswith("W_") else 0.1))
    return model.double()


@torch.no_grad()
def bridged_model(kind, folder):
    """A model of another architecture, written by Hugging Face and read through the bridge."""
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(**KINDS[kind])
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * 0.15)
    model.save_pretrained(folder)
    return load_model(folder, dtype="float64", device="cpu")


def rms_norm(norm, x):
    """Llama's norm without Hugging Face's detour through float32."""
    return norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


@pytest.fixture(scope="session", autouse=True)
def _float64_throughout():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_llama.LlamaRMSNorm, "forward", rms_norm)
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Models by their name in ``MODELS``; GPT-NeoX has parallel blocks, Llama has shared keys."""
    made = {}

    def find(name):
        if name not in made:
            if name in KINDS:
                made[name] = bridged_model(name, tmp_path_factory.mktemp(name))
            else:
                made[name] = our_model(**({"ln_folded": True} if "folded" in name else {}))
        return made[name]

    return find


def make_pairs(n=5, length=7, n_answers=2) -> PromptPairs:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = torch.randint(3, VOCAB, (2, n, length), generator=draw)
    corrupt[:, 0] = clean[:, 0]
    return PromptPairs(
        name="random",
        clean=clean,
        corrupt=corrupt,
        answer_positions=torch.randint(2, length, (n, n_answers), generator=draw),
        answers=torch.randint(3, VOCAB - 5, (n, n_answers), generator=draw),
        position_labels=tuple(map(str, range(length))),
        answer_labels=tuple(map(str, range(n_answers))),
    )


@pytest.fixture
def pairs():
    return make_pairs()


@pytest.fixture
def metric(pairs):
    return logit_difference(pairs, pairs.answers[..., None] + torch.arange(1, 3))


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
    sizes = {**KINDS["Llama"], "vocab_size": SMALL_VOCAB, "num_hidden_layers": n_layers}
    module = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    module.save_pretrained(folder)
    return load_model(folder, device="cpu")
