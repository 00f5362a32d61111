"""Sub-models of a model on a task: scores of each, and of several together."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from mechbench.models.base import HookedModel
from mechbench.models.components.pathways import log_mean_probability
from mechbench.models.pathways import sampled
from mechbench.tasks.base import Task
from mechbench.tasks.metrics import answer_log_prob

_SEEDS_APART = 1_000_003  # between draws, so that no two of them share a member


@dataclass(frozen=True)
class Scores:
    """Of each prompt, the mean over answers ``[prompt]``, in float64.

    Attributes:
        metric: the task's.
        loss: cross-entropy of the answers over the whole vocabulary, nats.
    """

    metric: Tensor
    loss: Tensor


class SubModels:
    """A model's sub-models on the clean prompts of a task.

    Args:
        sigma: noise of the local form, in blocks.
        seed: of the first draw.
    """

    def __init__(self, model: HookedModel, task: Task, sigma: float, seed: int):
        self.model, self.sigma, self.seed = model, sigma, seed
        device = model.cfg.device
        self.metric = task.metric().to(device)
        pairs = task.pairs().to(device)
        self._tokens = pairs.clean
        self._log_prob = answer_log_prob(pairs)

    def dense(self) -> Scores:
        """The whole model's scores."""
        return self._scores(nullcontext())

    def alone(self) -> Scores:
        """Scores of the model in which every position sees itself alone."""
        with ExitStack() as stack:
            stack.enter_context(sampled(self.model, seed=0, kept=1.0, form="bernoulli"))
            masks = [name for name in self.model.hook_dict if name.endswith("hook_source_mask")]
            hooks = [(name, lambda mask, hook: torch.zeros_like(mask)) for name in masks]
            stack.enter_context(self.model.hooks(hooks))
            return self._scores(nullcontext())

    def sampled(
        self, form: str, kept: float, draw: int, layers: Collection[int] | None = None
    ) -> Scores:
        """Scores of one sub-model; ``layers`` are those that are sampled, all by default."""
        return self._scores(self._sub_model(form, kept, draw, 0, layers))

    def ensembles(self, form: str, kept: float, draw: int, sizes: Sequence[int]) -> list[Scores]:
        """Scores of the mean probability of the draw's first members, as many as ``sizes`` say."""
        logits = [
            self._logits(self._sub_model(form, kept, draw, member)) for member in range(max(sizes))
        ]
        return [self._read(log_mean_probability(torch.stack(logits[:size]))) for size in sizes]

    def _sub_model(
        self,
        form: str,
        kept: float,
        draw: int,
        member: int,
        layers: Collection[int] | None = None,
    ) -> AbstractContextManager:
        return sampled(
            self.model,
            seed=self.seed + draw * _SEEDS_APART + member,
            kept=kept,
            form=form,
            sigma=self.sigma,
            layers=layers,
        )

    def _scores(self, mode: AbstractContextManager) -> Scores:
        return self._read(self._logits(mode))

    def _logits(self, mode: AbstractContextManager) -> Tensor:
        """Logits of the whole vocabulary where the metric reads, ``[prompt answer vocab]``."""
        with mode:
            return self.model.answer_logits(self._tokens, self.metric.positions)

    def _read(self, logits: Tensor) -> Scores:
        vocab = self.metric.vocab
        metric = self.metric(logits if vocab is None else logits[..., vocab])
        loss = -self._log_prob(logits)
        return Scores(metric.double().mean(-1).cpu(), loss.double().mean(-1).cpu())
