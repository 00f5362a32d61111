"""The metric of the clean and the corrupted run, between which edges are measured."""

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs


@torch.inference_mode()
def both_runs(model, pairs: PromptPairs, metric: Metric) -> tuple[Tensor, Tensor]:
    """The metric of the clean and of the corrupted run, ``[prompt]`` each, mean over answers.

    Raises:
        TaskError: the metric is the same in both runs of every prompt, so that no edge can matter.
    """
    device = model.cfg.device
    metric = metric.to(device)
    clean, corrupt = (
        metric(model.answer_logits(tokens.to(device), metric.positions, metric.vocab)).cpu()
        for tokens in (pairs.clean, pairs.corrupt)
    )
    if torch.equal(clean, corrupt):
        raise TaskError(
            f"{metric.name} of {model.cfg.model_name!r} is the same on the clean and the corrupted "
            f"prompts of {pairs.name!r}, so no edge can change it. Choose another corruption or "
            "metric."
        )
    return clean.mean(-1), corrupt.mean(-1)
