"""Answers under edits of value vectors that may differ from prompt to prompt.

Editing row n of W_out changes what the MLP writes at a position by the neuron's activation there
times the change of the row. So a batch of prompts, each with an edit of its own, is one forward
pass in which that product is added; nothing is written into the weights.

Suffixes: B prompt, P pos, D d_model, N edited neurons of a layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.choices import Answers, chunks, read_answers
from mechbench.analyses.common.mlp_values import Neuron, post_name
from mechbench.interventions.kept_file import KeptFile
from mechbench.interventions.weight_edits import layers_sharing
from mechbench.models.fingerprint import weight_fingerprint
from mechbench.tasks.choice_task import ChoiceTask


@dataclass(frozen=True, eq=False)
class PromptEdits:
    """``add [prompt d_model]`` (or ``[1 d_model]``, for all) on the value vector of a neuron."""

    neuron: Neuron
    add: Tensor


class EditedAnswers:
    """What a model answers to the prompts of a task under edits.

    A run starts at the first layer that an edit reaches, where the model can be restarted there.

    Args:
        checkpoint: a file that keeps finished answers, so that interrupted work goes on.
    """

    def __init__(self, model, task: ChoiceTask, checkpoint: Path | None = None):
        self.model, self.task = model, task
        self.tokens = task.clean.to(model.cfg.device)
        self.last = task.answer_positions.to(model.cfg.device)
        self._streams: dict[int, Tensor] = {}
        self._kept: dict[str, Answers] = {}
        self._file = None
        if checkpoint is not None:
            digest = sha256(f"{weight_fingerprint(model)} {model.cfg.model_name}".encode())
            for part in (task.clean, task.lengths, task.label_ids, task.n_options):
                digest.update(part.numpy().tobytes())
            self._file = KeptFile(checkpoint, digest.hexdigest(), "or set of prompts")
            self._restore()

    @torch.inference_mode()
    def under(self, edits: Sequence[PromptEdits]) -> Answers:
        """The answers with all of these edits together; none of them is the model itself."""
        key = _key(edits)
        if key not in self._kept:
            logits = torch.cat(
                [self._logits(edits, rows) for rows in chunks(self.model, self.task)]
            )
            self._kept[key] = read_answers(self.task, logits)
            if self._file is not None and self._file.due:
                self.save()
        return self._kept[key]

    def save(self) -> None:
        """Write what is finished to the checkpoint, if there is one."""
        if self._file is None or not self._kept:
            return
        answers = list(self._kept.values())
        self._file.write(
            keys=np.array(list(self._kept)),
            tops=np.stack([a.top.numpy() for a in answers]),
            log_probs=np.stack([a.log_probs.numpy() for a in answers]),
            others=np.stack([a.other.numpy() for a in answers]),
        )

    def _restore(self) -> None:
        assert self._file is not None
        found = self._file.read("keys", "tops", "log_probs", "others")
        if found is None:
            return
        keys, *arrays = found
        tops, log_probs, others = map(torch.as_tensor, arrays)
        nothing = torch.empty(len(self.task), 0, dtype=torch.float64)
        for i, key in enumerate(keys.tolist()):
            self._kept[key] = Answers(tops[i], log_probs[i], others[i], nothing)

    def _logits(self, edits: Sequence[PromptEdits], rows: slice) -> Tensor:
        """Next-token logits ``[prompt vocab]`` of some prompts."""
        model, last = self.model, self.last[rows]
        by_layer = self._by_layer(edits, rows)
        hooks = [hook for layer, parts in by_layer.items() for hook in _hooks(layer, parts)]
        with model.hooks(fwd_hooks=hooks):
            if not by_layer or not model.capabilities.restart_at_layer:
                return model.answer_logits(self.tokens[rows], last[:, None])[:, 0]
            first = min(by_layer)
            resid = self._stream(first)[rows]
            for block in model.blocks[first:]:
                resid = block(resid)
        each = torch.arange(len(last), device=last.device)
        return model.read_answers(resid[each, last][:, None])[:, 0]

    def _by_layer(
        self, edits: Sequence[PromptEdits], rows: slice
    ) -> dict[int, list[tuple[int, Tensor]]]:
        """Neurons and what is added to their vectors, by layer; shared weights in each layer."""
        found: dict[int, list[tuple[int, Tensor]]] = {}
        for edit in edits:
            layer, neuron = edit.neuron
            add = edit.add if len(edit.add) == 1 else edit.add[rows]
            for own in layers_sharing(self.model, layer):
                found.setdefault(own, []).append((neuron, add))
        return found

    def _stream(self, layer: int) -> Tensor:
        """The unedited residual stream that enters a layer, ``[prompt pos d_model]``."""
        if layer not in self._streams:
            parts = [
                self.model(self.tokens[rows], stop_at_layer=layer)
                for rows in chunks(self.model, self.task)
            ]
            self._streams[layer] = torch.cat(parts)
        return self._streams[layer]


def _hooks(layer: int, parts: Sequence[tuple[int, Tensor]]) -> list[tuple[str, Callable]]:
    """Hooks that add activation times change to what an MLP writes."""
    seen: list[Tensor] = []
    neurons = [neuron for neuron, _ in parts]

    def read(post: Tensor, hook) -> None:
        seen[:] = [post[..., neurons]]  # [B P N]

    def write(out: Tensor, hook) -> Tensor:
        change = torch.zeros_like(out)
        for i, (_, add) in enumerate(parts):
            change += seen[0][..., i, None] * add[:, None].to(out)
        return out + change

    return [(post_name(layer), read), (f"blocks.{layer}.hook_mlp_out", write)]


def _key(edits: Sequence[PromptEdits]) -> str:
    digest = sha256()
    for edit in edits:
        digest.update(repr(edit.neuron).encode())
        digest.update(edit.add.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
