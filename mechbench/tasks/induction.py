"""The induction task: random tokens, then the same tokens again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.metrics import (
    AnswerLogProb,
    LogitDifference,
    answer_log_prob,
    logit_difference,
)
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.seeds import seeded
from mechbench.tasks.tokens import bos_id, tokenizer_facts

CORRUPTIONS = ("first_half", "other_repeat")
KINDS = ("logit_diff", "log_prob")


@dataclass(frozen=True, kw_only=True, eq=False)
class InductionTask:
    """Repeated random tokens; every token of the repeat but the first is an answer.

    Attributes:
        bos: ids that stand before each prompt, ``[0]`` or ``[1]``.
        half: the repeated tokens ``[prompt half]``, all different within a prompt.
        other: as many further tokens, different from those of ``half``, for the corruptions.
        source: JSON-able provenance.
    """

    bos: Tensor
    half: Tensor
    other: Tensor
    source: Mapping[str, Any]
    name: str = "induction"
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.half)

    @property
    def clean(self) -> Tensor:
        """Token ids ``[prompt pos]``."""
        return self._prompt(self.half, self.half)

    def _prompt(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([self.bos.expand(len(first), -1), first, second], dim=1)

    def pairs(self, corruption: str = "first_half") -> PromptPairs:
        """Clean prompts and a corruption in which induction gives no help, or another answer.

        Args:
            corruption: ``"first_half"`` replaces the first half, so nothing is repeated;
                ``"other_repeat"`` replaces both, so the repeat is of other tokens.

        Raises:
            TaskError: an unknown corruption.

        Source: our choice.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        second = self.half if corruption == "first_half" else self.other
        n, half = self.half.shape
        n_bos = len(self.bos)
        answer_positions = torch.arange(n_bos + half, n_bos + 2 * half - 1)
        numbers = range(1, half + 1)
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=self._prompt(self.other, second),
            answer_positions=answer_positions.expand(n, half - 1),
            answers=self.half[:, 1:],
            position_labels=(
                *["BOS"] * n_bos,
                *(f"a{i}" for i in numbers),
                *(f"b{i}" for i in numbers),
            ),
            answer_labels=tuple(f"token {i}" for i in range(2, half + 1)),
            source={**self.source, "corruption": corruption},
        )

    def metric(self, kind: str = "logit_diff") -> LogitDifference | AnswerLogProb:
        """How much the model favours the repeated token.

        Args:
            kind: ``"logit_diff"``, logit of the answer minus that of the token which stands in its
                place in the corrupted first half, in logits; or ``"log_prob"``, log-probability of
                the answer, in nats.

        Raises:
            TaskError: an unknown kind.
        """
        if kind not in KINDS:
            raise TaskError(f"metric kind={kind!r} is not known. {did_you_mean(kind, KINDS)}")
        pairs = self.pairs()
        if kind == "log_prob":
            return answer_log_prob(pairs)
        return logit_difference(pairs, self.other[:, 1:, None])


def induction(
    tokenizer: Any = None,
    n: int = 32,
    *,
    half_length: int = 10,
    seed: int = 0,
    vocab: int | Sequence[int] | None = None,
    bos: bool | int = True,
) -> InductionTask:
    """Prompts of random tokens that are repeated once, BOS first.

    Args:
        tokenizer: for its ordinary tokens and BOS; None where ``vocab`` and ``bos`` say all.
        n: number of prompts.
        half_length: tokens before the repeat, all different, at least 2.
        seed: the same seed gives the same prompts.
        vocab: ids to draw from, or how many (``model.cfg.d_vocab``); the tokenizer's by default.
            Special tokens of the tokenizer are left out.
        bos: True for the tokenizer's BOS, False for none, or an id.

    Raises:
        TaskError: ``n`` below 1, ``half_length`` below 2, too few tokens to draw from, or neither
            tokenizer nor vocab.
        TokenizerError: ``bos=True`` without a BOS token.

    Source: the task of Olsson et al. 2022; distinct tokens and both corruptions are our choice.
    """
    if n < 1 or half_length < 2:
        raise TaskError(
            "induction needs n of at least 1 and half_length of at least 2, got "
            f"n={n} and half_length={half_length}."
        )
    bos_ids = [bos_id(tokenizer)] if bos is True else [] if bos is False else [bos]
    ids = _ordinary_ids(tokenizer, vocab, bos_ids)
    if len(ids) < 2 * half_length:
        raise TaskError(
            f"induction with half_length={half_length} needs {2 * half_length} different tokens, "
            f"and there are {len(ids)} to draw from. Use a smaller half_length."
        )
    rng = seeded(seed, n, half_length)
    drawn = np.stack([rng.choice(ids, 2 * half_length, replace=False) for _ in range(n)])
    return InductionTask(
        bos=torch.tensor(bos_ids, dtype=torch.long),
        half=torch.from_numpy(drawn[:, :half_length]),
        other=torch.from_numpy(drawn[:, half_length:]),
        source={
            "generator": "induction",
            "n": n,
            "half_length": half_length,
            "seed": seed,
            "bos": bos_ids,
            "vocab": len(ids),
            "tokenizer": None if tokenizer is None else tokenizer_facts(tokenizer),
            "prompts_sha256": sha256(drawn.astype("<i8").tobytes()).hexdigest(),
        },
    )


def _ordinary_ids(
    tokenizer: Any, vocab: int | Sequence[int] | None, bos_ids: Sequence[int]
) -> np.ndarray:
    if vocab is None and tokenizer is None:
        raise TaskError("induction needs a tokenizer, or vocab=model.cfg.d_vocab and bos=.")
    if vocab is None:
        ids = np.arange(len(tokenizer))
    else:
        ids = np.arange(vocab) if isinstance(vocab, int) else np.unique(np.asarray(vocab, int))
    special = [*bos_ids, *(tokenizer.all_special_ids if tokenizer is not None else [])]
    return np.setdiff1d(ids, special)
