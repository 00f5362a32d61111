"""Greater-than: ``The war lasted from the year 1732 to the year 17`` -> a year after 32."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.tasks.greater_than_texts import NOUNS
from mechbench.tasks.metrics import GroupDifference, group_difference
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.seeds import seeded
from mechbench.tasks.tokens import (
    bos_id,
    continuation_ids,
    pieces,
    text_ids,
    texts_ids,
    tokenizer_facts,
)

CORRUPTIONS = ("01",)
CENTURIES = (11, 12, 13, 14, 15, 16, 17)
_N_YEARS = 100
_FIRST, _LAST = 2, 98  # so that years above and below are always there, and 01 is never the start
_MIDDLE, _BETWEEN = " lasted from the year", " to the year"
_LABELS = ("lasted", "from", "the", "year", "XX1", "YY", "to", "the", "year", "XX2")


@dataclass(frozen=True, kw_only=True, eq=False)
class GreaterThanTask:
    """Prompts with a start year XX1 YY, of which the end year after XX2 must be later.

    Attributes:
        clean: token ids ``[prompt pos]``.
        start: the start year's last two digits as a number, 2 to 98, ``[prompt]``.
        years: token ids of ``00`` to ``99``, ``[100]``.
        spans: positions of ``XX1``, ``YY`` and ``END`` (the end year's century), ``[prompt]`` each.
        position_labels: one per position.
        source: JSON-able provenance.
    """

    clean: Tensor
    start: Tensor
    years: Tensor
    spans: Mapping[str, Tensor]
    position_labels: tuple[str, ...]
    source: Mapping[str, Any]
    name: str = "greater_than"
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.clean)

    def pairs(self, corruption: str = "01") -> PromptPairs:
        """Clean prompts and the same with the start year's last two digits 01.

        The metric counts all later years as correct; ``answers`` names the first of them, YY + 1.

        Raises:
            TaskError: an unknown corruption.

        Source: Hanna et al. 2023.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        corrupt = self.clean.clone()
        corrupt[torch.arange(len(self)), self.spans["YY"]] = self.years[1]
        return self._pairs(corrupt, {"corruption": corruption})

    def metric(self, kind: str = "prob_diff") -> GroupDifference:
        """How much the model favours the years after YY over YY and the years before it.

        Args:
            kind: ``"prob_diff"``, the summed probability of the years YY + 1 to 99 minus that of
                00 to YY, over the whole vocabulary, in probability; or ``"logit_diff"``, the mean
                logit of the former minus that of the latter, in logits. Positive is right.

        Raises:
            TaskError: an unknown kind.

        Source: Hanna et al. 2023 for ``"prob_diff"``; ``"logit_diff"`` is our choice.
        """
        later = torch.arange(_N_YEARS) > self.start[:, None]
        return group_difference(self._pairs(self.clean, {}), self.years, later[:, None], kind)

    def _pairs(self, corrupt: Tensor, facts: Mapping[str, Any]) -> PromptPairs:
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=corrupt,
            answer_positions=self.spans["END"][:, None],
            answers=self.years[self.start + 1][:, None],
            position_labels=self.position_labels,
            answer_labels=("later year",),
            spans=self.spans,
            source={**self.source, **facts},
        )


def greater_than(
    tokenizer: Any,
    n: int = 64,
    *,
    seed: int = 0,
    nouns: Sequence[str] | None = None,
    centuries: Sequence[int] = CENTURIES,
    bos: bool = True,
) -> GreaterThanTask:
    """Greater-than prompts of one length, with start years drawn evenly from 02 to 98.

    A start year is used where the tokenizer splits it into the century with its space and the two
    other digits, and the century only where it does so with 01 as well. Of the nouns, those of the
    token length that most of them have are used.

    Args:
        tokenizer: Hugging Face's interface, e.g. ``model.tokenizer``.
        n: number of prompts.
        seed: the same seed gives the same prompts.
        nouns: what lasted; our own list by default.
        centuries: the first two digits of the years, 10 to 99; 11 to 17 by default.
        bos: whether BOS stands at position 0.

    Raises:
        TaskError: ``n`` below 1, no noun, or centuries that are not two digits.
        TokenizerError: no BOS token, two digits are not one token, no year is split into its
            halves, or a noun changes how the rest is split.

    Source: Hanna et al. 2023 for the sentence, the corruption and the range of years; nouns are
        our own.
    """
    given = sorted(set(NOUNS if nouns is None else nouns))
    if n < 1 or not given or not centuries or not all(10 <= c <= 99 for c in centuries):
        raise TaskError(
            "greater_than needs n of at least 1, a noun, and centuries from 10 to 99, got "
            f"n={n}, {len(given)} nouns and centuries={list(centuries)}."
        )
    bos_ids = [bos_id(tokenizer)] if bos else []
    usable = _one_length_nouns(tokenizer, given)
    pool = _split_years(tokenizer, sorted(set(centuries)))
    texts, start, century = _draw_texts(seeded(seed, n), n, usable, pool)
    rows = texts_ids(tokenizer, texts)
    years = torch.tensor(_two_digit_ids(tokenizer))
    # XX1 YY to the year XX2: counted from the end, where every prompt is alike
    tail = len(_LABELS) - 1 - _LABELS.index("YY")
    found = [len(row) > tail + 1 and row[-1 - tail] for row in rows]
    words = [len(row) for row in texts_ids(tokenizer, [_MIDDLE, _BETWEEN])]
    if words != [4, 3] or len({len(row) for row in rows}) > 1 or found != years[start].tolist():
        raise TokenizerError(
            "The tokenizer does not make one token of each word and of both halves of the year in "
            f"{texts[0]!r}: {pieces(tokenizer, rows[0])}."
        )
    clean = torch.tensor([bos_ids + row for row in rows])
    end = torch.full((n,), clean.shape[1] - 1)
    return GreaterThanTask(
        clean=clean,
        start=start,
        years=years,
        spans={"XX1": end - tail - 1, "YY": end - tail, "END": end},
        position_labels=_labels(clean.shape[1], len(bos_ids)),
        source={
            "generator": "greater_than",
            "n": n,
            "seed": seed,
            "tokenizer": tokenizer_facts(tokenizer),
            "nouns": len(usable),
            "years": {str(c): century.count(c) for c in sorted(set(century))},
            "prompts_sha256": sha256(clean.numpy().astype("<i8").tobytes()).hexdigest(),
        },
    )


def _labels(length: int, n_bos: int) -> tuple[str, ...]:
    """The words of the sentence; what stands before ``lasted`` is the noun's."""
    n_noun = length - n_bos - len(_LABELS) - 1
    noun = ["noun", *(f"noun {i}" for i in range(2, n_noun + 1))][:n_noun]
    return (*["BOS"] * n_bos, "The", *noun, *_LABELS)


def _one_length_nouns(tokenizer: Any, nouns: Sequence[str]) -> list[str]:
    rows = texts_ids(tokenizer, [_sentence(noun, 17, 50) for noun in nouns])
    lengths = [len(row) for row in rows]
    wanted = max(sorted(set(lengths)), key=lengths.count)
    return [noun for noun, length in zip(nouns, lengths, strict=True) if length == wanted]


def _sentence(noun: str, century: int, year: int) -> str:
    return f"The {noun}{_MIDDLE} {century}{year:02d}{_BETWEEN} {century}"


def _two_digit_ids(tokenizer: Any) -> list[int]:
    rows = texts_ids(tokenizer, [f"{year:02d}" for year in range(_N_YEARS)])
    for year, row in enumerate(rows):
        if len(row) != 1:
            raise TokenizerError(
                "greater_than reads two-digit years as single tokens, and this tokenizer splits "
                f"{year:02d} into {pieces(tokenizer, row)}."
            )
    return [row[0] for row in rows]


def _split_years(tokenizer: Any, centuries: Sequence[int]) -> dict[int, list[int]]:
    """For each two last digits, the centuries with which they are two tokens."""
    years = _two_digit_ids(tokenizer)
    pool: dict[int, list[int]] = {}
    example: list[int] = []
    for century in centuries:
        head = text_ids(tokenizer, f" {century}")
        ends = continuation_ids(
            tokenizer, f" {century}", [f"{year:02d}" for year in range(_N_YEARS)]
        )
        example = text_ids(tokenizer, f" {century}50")
        split = [len(head) == 1 and end == [i] for end, i in zip(ends, years, strict=True)]
        if split[1]:
            for year in range(_FIRST, _LAST + 1):
                if split[year]:
                    pool.setdefault(year, []).append(century)
    if not pool:
        raise TokenizerError(
            "This tokenizer splits no year of the given centuries into a century with its space "
            f"and two digits; it makes {pieces(tokenizer, example)} of {centuries[-1]}50. Give "
            "other centuries=[...]."
        )
    return pool


def _draw_texts(
    rng: Generator, n: int, nouns: Sequence[str], pool: Mapping[int, Sequence[int]]
) -> tuple[list[str], Tensor, list[int]]:
    """Texts, their start years' last two digits, and their centuries."""
    available = np.array(sorted(pool))
    rounds = -(-n // len(available))
    start = np.concatenate([rng.permutation(available) for _ in range(rounds)])[:n]
    texts, centuries = [], []
    for year in start.tolist():
        century = pool[year][int(rng.integers(len(pool[year])))]
        texts.append(_sentence(nouns[int(rng.integers(len(nouns)))], century, year))
        centuries.append(century)
    return texts, torch.from_numpy(start), centuries
