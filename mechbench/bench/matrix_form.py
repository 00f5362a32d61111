"""The usual matrix form of edge attribution, plain and fair: what ours is measured against.

One tensor holds the difference of every writer in d_model; heads read split inputs; every backward
hook makes one einsum of the difference tensor and its gradient. The form is that of the EAP-IG
tools, as described by Hanna et al. 2024; the graph and its order are ours.
"""

from functools import partial

import torch
from torch import Tensor

from mechbench.discovery.reader_gradients import activation_gradients
from mechbench.graphs.wiring import ReaderBank, WriterBank, wire
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

_EMBEDDING = "blocks.0.hook_resid_pre"


def matrix_form_scores(model, pairs: PromptPairs, metric: Metric, *, steps: int = 0) -> Tensor:
    """Mean edge scores over prompts, ``[writer reader]``; positive helps the metric.

    All prompts are one batch; gradients of weights are not computed. ``steps`` is 0 for EAP, else
    the number of steps of EAP-IG (inputs).

    Source: Syed et al. 2023; Hanna et al. 2024.
    """
    split = model.cfg.use_split_qkv_input
    model.set_use_split_qkv_input(True)
    try:
        with activation_gradients(model, mlps=not model.cfg.attn_only):
            return _scores(model, pairs, metric, steps)
    finally:
        model.set_use_split_qkv_input(split)


def _scores(model, pairs: PromptPairs, metric: Metric, steps: int) -> Tensor:
    wiring = wire(model)
    n_writers, n_readers = len(wiring.graph.writers), len(wiring.graph.readers)
    shape = (*pairs.clean.shape, n_writers, model.cfg.d_model)
    embedding = model.W_E.new_empty(())  # for dtype and device
    difference = embedding.new_zeros(shape)
    scores = embedding.new_zeros(n_writers, n_readers)

    def write(bank: WriterBank, sign: float, tensor: Tensor, hook) -> None:
        outputs = bank.outputs(tensor.detach())  # [writer batch pos d_model]
        difference[:, :, bank.writers] += sign * outputs.permute(1, 2, 0, 3)

    def read(bank: ReaderBank, gradient: Tensor, hook) -> None:
        if gradient.dim() == 3:
            gradient = gradient[:, :, None]
        before = difference[:, :, : bank.n_before]
        scores[: bank.n_before, bank.readers] += torch.einsum("bpwd,bprd->wr", before, gradient)

    def forward_hooks(sign: float) -> list:
        return [(bank.hook_name, partial(write, bank, sign)) for bank in wiring.writers]

    def metric_sum(tokens: Tensor) -> Tensor:
        return metric(model.answer_logits(tokens, metric.positions, metric.vocab)).mean(-1).sum()

    def begin(tensor: Tensor, hook, at: Tensor | None = None) -> Tensor:
        return (tensor if at is None else at).detach().requires_grad_()

    backward_hooks = [(bank.input, partial(read, bank)) for bank in wiring.readers]
    with torch.no_grad(), model.hooks(forward_hooks(-1.0)):
        metric_sum(pairs.corrupt)
    if not steps:
        with model.hooks([(_EMBEDDING, begin), *forward_hooks(1.0)], backward_hooks):
            metric_sum(pairs.clean).backward()
        return scores / len(pairs)
    corrupt = -difference[:, :, 0]
    with torch.no_grad(), model.hooks(forward_hooks(1.0)):
        metric_sum(pairs.clean)
    for k in range(1, steps + 1):
        at = corrupt + k / steps * difference[:, :, 0]
        with model.hooks([(_EMBEDDING, partial(begin, at=at))], backward_hooks):
            metric_sum(pairs.clean).backward()
    return scores / (len(pairs) * steps)
