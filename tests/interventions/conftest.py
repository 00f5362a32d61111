"""Small random models and tasks for the engine's tests."""

import torch

from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from mechbench.tasks.metrics import logit_difference
from mechbench.tasks.pairs import PromptPairs

VOCAB = 50


def random_model(n_layers: int = 3, n_heads: int = 4, seed: int = 0) -> GPT2:
    """A model whose weights are large enough for every patch to matter."""
    torch.manual_seed(seed)
    config = GPT2Config(
        n_layers=n_layers, n_heads=n_heads, d_model=32, d_mlp=48, d_vocab=VOCAB, n_ctx=32
    )
    model = GPT2(config, "random")
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
            else:
                weight.add_(0.1 * torch.randn_like(weight))
    return model


def random_pairs(n_prompts=4, length=10, n_answers=2, shared_prefix=2, seed=0) -> PromptPairs:
    """Random tokens; answer positions and the span ``S`` differ between prompts."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, high: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=generator)

    clean, corrupt = draw(n_prompts, length, high=VOCAB), draw(n_prompts, length, high=VOCAB)
    corrupt[:, :shared_prefix] = clean[:, :shared_prefix]
    return PromptPairs(
        name="random",
        clean=clean,
        corrupt=corrupt,
        answer_positions=draw(n_prompts, n_answers, high=length),
        answers=draw(n_prompts, n_answers, high=VOCAB - 1),
        position_labels=tuple(str(p) for p in range(length)),
        answer_labels=tuple(f"answer {a + 1}" for a in range(n_answers)),
        spans={"S": draw(n_prompts, high=length)},
    )


def random_metric(pairs: PromptPairs):
    wrong = ((pairs.answers + 1) % VOCAB)[..., None]
    return logit_difference(pairs, wrong)
