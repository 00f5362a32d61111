"""What attention and MLP write at the last token, read as if it were the whole stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.steps import Steps
from mechbench.interventions.patchscope import states_at
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION
from mechbench.tasks.two_hop_tokens import name_tokens

SUBLAYERS = ("attention", "mlp")
READINGS = ("e2", "e3", "prediction")
_HOOKS = {"attention": "hook_attn_out", "mlp": "hook_mlp_out"}


@dataclass(frozen=True)
class Projections:
    """Which tokens rank first.

    Attributes:
        first: whether one of the reading's tokens does, ``[sublayer reading layer prompt]``.
        control: the same of the tokens of each query's partner.
    """

    first: np.ndarray
    control: np.ndarray


def check_sublayers(model) -> None:
    """Raises UnsupportedHookError where a layer has no attention or MLP output of its own."""
    layers = range(model.cfg.n_layers)
    require_hooks(model, [f"blocks.{i}.{hook}" for i in layers for hook in _HOOKS.values()])


@torch.inference_mode()
def project(model, task: TwoHopTask, steps: Steps) -> Projections:
    """Attention and MLP outputs at t2 through the final norm and the unembedding.

    Counts as many steps as there are layers of each kind.
    """
    rows, at = task.tokens_of(COMPOSITION), task.t2.tolist()
    last = states_at(model, rows, at, [model.cfg.n_layers - 1])[0]
    predicted = _first(model, last)
    readings = _readings(model, task, predicted)
    shape = (len(SUBLAYERS), len(READINGS), model.cfg.n_layers, len(task))
    first, control = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    partner = task.partners.tolist()
    for s, sublayer in enumerate(SUBLAYERS):
        outputs = states_at(model, rows, at, range(model.cfg.n_layers), site=_HOOKS[sublayer])
        for layer, output in enumerate(outputs):
            ids = _first(model, output)
            for r, wanted in enumerate(readings):
                first[s, r, layer] = [i in wanted[p] for p, i in enumerate(ids)]
                control[s, r, layer] = [i in wanted[j] for i, j in zip(ids, partner, strict=True)]
            steps.advance()
    return Projections(first, control)


def _first(model, states: Tensor) -> list[int]:
    """The token that ranks first of each state ``[prompt d_model]``."""
    logits = model.read_answers(states[:, None].to(model.cfg.device))
    return logits[:, 0].argmax(-1).tolist()


def _readings(model, task: TwoHopTask, predicted: Sequence[int]) -> tuple[list[set[int]], ...]:
    """Tokens by reading and prompt: names as text where there is a tokenizer."""
    if model.tokenizer is None:
        bridges = [set(ids) for ids in task.bridge_ids]
        answers = [set(ids) for ids in task.answer_ids]
    else:
        bridges = [set(name_tokens(model.tokenizer, q.e2)) for q in task.queries]
        answers = [set(name_tokens(model.tokenizer, q.e3)) for q in task.queries]
    return bridges, answers, [{token} for token in predicted]
