"""What a task yields: clean and corrupted prompts of one length, and where the answers are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mechbench.errors import TaskError


@dataclass(frozen=True, kw_only=True)
class PromptPairs:
    """A batch of prompt pairs.

    Attributes:
        name: the task, as in specs and results.
        clean, corrupt: token ids ``[prompt pos]``, position 0 BOS where the task uses one.
        answer_positions: ``[prompt answer]``; the logits read there predict the answer.
        answers: correct token ids ``[prompt answer]``.
        position_labels: one per position, for axes of figures (``"C1"``).
        answer_labels: one per answer (``"letter 1"``).
        spans: named positions that differ between prompts, ``[prompt]`` each (``"S2"``).
        source: JSON-able provenance: generator, seed, corruption, tokenizer, file.

    Raises:
        TaskError: an empty task, or shapes, lengths and positions that do not fit together.
    """

    name: str
    clean: Tensor
    corrupt: Tensor
    answer_positions: Tensor
    answers: Tensor
    position_labels: tuple[str, ...]
    answer_labels: tuple[str, ...]
    spans: Mapping[str, Tensor] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise TaskError(f"The task {self.name!r} does not fit together: {'; '.join(problems)}.")

    def _problems(self):
        if self.clean.dim() != 2 or len(self.clean) == 0 or self.clean.shape[1] == 0:
            yield f"clean must be [prompt pos], not empty, got {list(self.clean.shape)}"
            return
        n, length = self.clean.shape
        if self.corrupt.shape != self.clean.shape:
            yield (
                f"corrupted prompts are {list(self.corrupt.shape)} and clean ones {[n, length]}, "
                "and both need the same number of prompts and tokens"
            )
        if self.answers.shape != self.answer_positions.shape or self.answers.dim() != 2:
            yield (
                f"answers {list(self.answers.shape)} and answer_positions "
                f"{list(self.answer_positions.shape)} must both be [prompt answer]"
            )
        elif len(self.answers) != n or self.answers.shape[1] != len(self.answer_labels):
            yield f"answers are {list(self.answers.shape)} for {n} prompts and {self.answer_labels}"
        if self.answer_positions.numel() and not (
            0 <= int(self.answer_positions.min()) and int(self.answer_positions.max()) < length
        ):
            yield f"answer positions must lie in 0..{length - 1}"
        if len(self.position_labels) != length:
            yield f"{len(self.position_labels)} position labels for {length} positions"
        for label, positions in self.spans.items():
            if positions.shape != (n,) or not (0 <= int(positions.min()) <= length - 1):
                yield f"span {label!r} must hold one position in 0..{length - 1} per prompt"

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def n_positions(self) -> int:
        return self.clean.shape[1]

    def to(self, device: torch.device | str) -> "PromptPairs":
        """The same pairs on a device."""
        return self._map(lambda t: t.to(device))

    def select(self, prompts: slice | Tensor) -> "PromptPairs":
        """Some of the prompts."""
        return self._map(lambda t: t[prompts])

    def _map(self, fn) -> "PromptPairs":
        return replace(
            self,
            clean=fn(self.clean),
            corrupt=fn(self.corrupt),
            answer_positions=fn(self.answer_positions),
            answers=fn(self.answers),
            spans={label: fn(positions) for label, positions in self.spans.items()},
        )
