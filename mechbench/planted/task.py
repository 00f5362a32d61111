"""The task of a planted circuit: token ids of a small vocabulary, no tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.metrics import LogitDifference, logit_difference
from mechbench.tasks.pairs import PromptPairs

CORRUPTIONS = ("redrawn",)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlantedTask:
    """Prompts, and as many others of the same form that have other answers.

    Attributes:
        clean, corrupt: token ids ``[prompt pos]``.
        answer_positions, answers: ``[prompt answer]``.
        wrong: the answers of the corrupted prompts ``[prompt answer]``.
        source: JSON-able provenance.
    """

    name: str
    clean: Tensor
    corrupt: Tensor
    answer_positions: Tensor
    answers: Tensor
    wrong: Tensor
    position_labels: tuple[str, ...]
    answer_labels: tuple[str, ...]
    source: Mapping[str, Any]
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.clean)

    def pairs(self, corruption: str = "redrawn") -> PromptPairs:
        """Clean prompts and their redrawn counterparts.

        Raises:
            TaskError: an unknown corruption.

        Source: our choice.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=self.corrupt,
            answer_positions=self.answer_positions,
            answers=self.answers,
            position_labels=self.position_labels,
            answer_labels=self.answer_labels,
            source={**self.source, "corruption": corruption},
        )

    def metric(self) -> LogitDifference:
        """Logit of the answer minus logit of the corrupted prompt's answer, in logits."""
        return logit_difference(self.pairs(), self.wrong[..., None])


def planted_task(
    name: str,
    *,
    clean: np.ndarray,
    corrupt: np.ndarray,
    answer_positions: Sequence[int],
    answers: np.ndarray,
    wrong: np.ndarray,
    position_labels: Sequence[str],
    answer_labels: Sequence[str],
    seed: int,
) -> PlantedTask:
    """The task made of arrays ``[prompt pos]`` and ``[prompt answer]``."""
    n = len(clean)
    drawn = np.concatenate([clean, corrupt]).astype("<i8").tobytes()
    return PlantedTask(
        name=name,
        clean=torch.from_numpy(clean),
        corrupt=torch.from_numpy(corrupt),
        answer_positions=torch.tensor(answer_positions).expand(n, -1).contiguous(),
        answers=torch.from_numpy(answers),
        wrong=torch.from_numpy(wrong),
        position_labels=tuple(position_labels),
        answer_labels=tuple(answer_labels),
        source={
            "generator": name,
            "n": n,
            "seed": seed,
            "prompts_sha256": sha256(drawn).hexdigest(),
        },
    )


def check_n(name: str, n: int) -> None:
    """Raises TaskError where there would be no prompt."""
    if n < 1:
        raise TaskError(f"{name} needs n of at least 1, got n={n}.")
