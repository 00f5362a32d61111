"""How far a circuit's answers are from the model's: a metric for comparing whole distributions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.tasks.pairs import PromptPairs


@dataclass(frozen=True)
class NegativeDivergence:
    """Minus KL(clean run || this run) of the next-token distributions at the answers, in nats.

    0 for the model itself and below 0 otherwise, so that as for every metric higher is better.
    """

    positions: Tensor
    clean: Tensor  # log-probabilities, [prompt answer d_vocab]
    name: str = "negative_kl"
    units: str = "nats"
    vocab: None = None

    def __call__(self, logits: Tensor) -> Tensor:
        gap = self.clean - logits.log_softmax(-1)
        return -(self.clean.exp() * gap).sum(-1)

    def to(self, device: torch.device | str) -> "NegativeDivergence":
        return NegativeDivergence(self.positions.to(device), self.clean.to(device))


@torch.inference_mode()
def negative_divergence(model, pairs: PromptPairs) -> NegativeDivergence:
    """The metric that compares with ``model`` on the clean prompts.

    Source: the comparison of Conmy et al. 2023 (ACDC), with its sign turned.
    """
    pairs = pairs.to(model.cfg.device)
    logits = model.answer_logits(pairs.clean, pairs.answer_positions)
    return NegativeDivergence(pairs.answer_positions, logits.log_softmax(-1))
