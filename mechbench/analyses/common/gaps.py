"""What vectors at the last position say for the first label and against the right one.

Suffixes: B prompt, D d_model, O option.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mechbench.analyses.common.choices import chunks
from mechbench.analyses.common.head_weights import final_norm
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.weights import final_scale
from mechbench.results.choices import DIRECT, LENS, READINGS
from mechbench.tasks.choice_task import ChoiceTask

_LOGITS_AT_ONCE = 1 << 25
_FINAL_SCALE = "ln_final.hook_scale"


@torch.inference_mode()
def last_activations(model, task: ChoiceTask, names: Sequence[str]) -> dict[str, Tensor]:
    """Activations ``[prompt ...]`` at each prompt's last position, by hook name.

    Raises:
        UnsupportedHookError: a model without one of these hook points.
    """
    require_hooks(model, [*names])
    tokens = task.clean.to(model.cfg.device)
    last = task.answer_positions.to(model.cfg.device)
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for rows in chunks(model, task):
        at = last[rows]
        each = torch.arange(len(at), device=at.device)

        def keep(value: Tensor, hook, each=each, at=at) -> None:
            found[hook.name].append(value[each, at].clone())

        hooks = [(name, keep) for name in names]
        model.run_with_hooks(tokens[rows], return_type=None, fwd_hooks=hooks)
    return {name: torch.cat(parts) for name, parts in found.items()}


def final_stream(model) -> str:
    """The hook name of the stream that the final norm reads."""
    return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"


class GapReader:
    """Reads vectors as logit(first label) - logit(right label), in two ways.

    Args:
        task: prompts whose last positions the vectors belong to, ``[prompt ...]``.
        stream: what the final norm reads there, ``[prompt d_model]``.
        gold: index of the label that counts as right, ``[prompt]``; the task's own by default.

    Raises:
        UnsupportedHookError: a final norm that is neither LayerNorm nor RMSNorm.
    """

    def __init__(self, model, task: ChoiceTask, stream: Tensor, gold: Tensor | None = None):
        self.model, self.anchor = model, task.anchor
        self.label_ids = task.label_ids.to(model.cfg.device)
        self.gold = (task.gold if gold is None else gold).to(model.cfg.device)
        W_U = model.W_U.detach()[:, self.label_ids]
        onto = (W_U[:, self.anchor, None] - W_U[:, self.gold]).T  # [B D]
        self._directions = direct_directions(model, stream, onto)

    def direct(self, vectors: Tensor) -> Tensor:
        """The vectors' parts ``[prompt ...]`` of the run's own gap, in logits: they add up.

        The final norm's divisor is that of the run, its centring and scale are exact.
        """
        return torch.einsum("b...d,bd->b...", vectors, self._directions)

    def lens(self, vectors: Tensor) -> Tensor:
        """The gap ``[prompt ...]``, in logits, if each vector were all of the final stream.

        It is normalised by its own size, so these do not add up. Source: Li and Gao 2025.
        """
        flat = vectors.flatten(1, -2) if vectors.dim() > 2 else vectors[:, None]
        step = max(1, _LOGITS_AT_ONCE // (flat.shape[1] * self.model.cfg.d_vocab))
        parts = [
            self.model.unembed(self.model.ln_final(flat[a : a + step]), self.label_ids)
            for a in range(0, len(flat), step)
        ]
        logits = torch.cat(parts)  # [B n O]
        right = logits.gather(-1, self.gold[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
        return (logits[..., self.anchor] - right).reshape(vectors.shape[:-1])

    def both(self, vectors: Tensor) -> Tensor:
        """Both readings ``[reading prompt ...]``, in the order of ``READINGS``."""
        read = {LENS: self.lens, DIRECT: self.direct}
        return torch.stack([read[name](vectors) for name in READINGS])


def direct_directions(model, stream: Tensor, onto: Tensor) -> Tensor:
    """Directions ``[prompt d_model]`` along which vectors count towards logits of a run.

    Args:
        stream: what the final norm reads, ``[prompt d_model]``; its divisor is kept.
        onto: combinations of unembedding columns, ``[prompt d_model]``.

    Raises:
        UnsupportedHookError: a final norm that is neither LayerNorm nor RMSNorm.
    """
    require_hooks(model, [_FINAL_SCALE])
    return final_norm(model).read(onto) / final_scale(model, stream[:, None])[:, 0]


def permuted_gold(task: ChoiceTask, seed: int) -> Tensor:
    """Each prompt's right label exchanged for another prompt's, ``[prompt]``."""
    order = torch.randperm(len(task), generator=torch.Generator().manual_seed(seed))
    moved = torch.empty_like(task.gold)
    moved[order] = task.gold[order.roll(1)]
    return moved
