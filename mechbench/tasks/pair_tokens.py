"""Pairs as tokens: one length within a pair, one token for each answer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mechbench.errors import TaskError
from mechbench.tasks.pair_rows import PairRow
from mechbench.tasks.prompt_rows import BadRow, lines_by
from mechbench.tasks.tokens import pieces, texts_ids


@dataclass(frozen=True)
class PairTokens:
    """A row as token ids without BOS; the correct answer first, then the wrong ones."""

    where: str
    clean: list[int]
    corrupted: list[int]
    answers: list[int]


class _Misfit(Exception):
    """Why a row's tokens do not make a pair."""


def split_pairs(
    tokenizer: Any, rows: Sequence[PairRow], *, space: bool, first_token: bool
) -> Iterator[PairTokens | BadRow]:
    """Each row as tokens, or why it does not fit.

    Args:
        tokenizer: Hugging Face's interface.
        rows: as read.
        space: whether a space is put before answers that begin with none.
        first_token: whether the first token stands for an answer of several.
    """
    cleans = texts_ids(tokenizer, [row.clean for row in rows])
    corrupts = texts_ids(tokenizer, [row.corrupted for row in rows])
    answers = [_spaced((row.answer, *row.wrong), space) for row in rows]
    texts = [
        row.clean + answer
        for row, group in zip(rows, answers, strict=True)
        for answer in group
        if isinstance(answer, str)
    ]
    wholes = iter(texts_ids(tokenizer, texts))
    for row, clean, corrupted, group in zip(rows, cleans, corrupts, answers, strict=True):
        found = [next(wholes) if isinstance(answer, str) else answer for answer in group]
        try:
            if len(clean) != len(corrupted):
                raise _Misfit(
                    f"clean and corrupted of different length: {len(clean)} tokens "
                    f"{pieces(tokenizer, clean)} and {len(corrupted)} tokens "
                    f"{pieces(tokenizer, corrupted)}"
                )
            ids = [
                _answer_id(tokenizer, answer, whole, clean, first_token)
                for answer, whole in zip(group, found, strict=True)
            ]
            if ids[0] in ids[1:]:
                raise _Misfit(
                    f"the answer and a wrong answer are both {pieces(tokenizer, ids)[0]!r}"
                )
            yield PairTokens(row.where, clean, corrupted, ids)
        except _Misfit as problem:
            yield BadRow(row.where, str(problem))


def _spaced(answers: Sequence[str | int], space: bool) -> list[str | int]:
    return [
        f" {answer}" if space and isinstance(answer, str) and not answer[0].isspace() else answer
        for answer in answers
    ]


def _answer_id(
    tokenizer: Any, answer: str | int, whole: list[int] | int, clean: list[int], first: bool
) -> int:
    """The token that stands for an answer after the clean prompt."""
    if isinstance(whole, int):
        if not 0 <= whole < len(tokenizer):
            raise _Misfit(f"token id {whole} is not in 0..{len(tokenizer) - 1}")
        return whole
    if whole[: len(clean)] != clean or len(whole) == len(clean):
        raise _Misfit(
            f"the answer {answer!r} changes how the end of the prompt is split: "
            f"{pieces(tokenizer, clean)[-3:]} becomes {pieces(tokenizer, whole)[-3:]}; let the "
            "prompt end without a space and the answer begin with one"
        )
    ids = whole[len(clean) :]
    if len(ids) > 1 and not first:
        raise _Misfit(
            f"the answer {answer!r} is {len(ids)} tokens {pieces(tokenizer, ids)}; give answers of "
            "one token, or answer_first_token=True to take the first"
        )
    return ids[0]


def one_length(
    name: str, rows: Sequence[PairTokens], length: str
) -> tuple[list[PairTokens], dict[str, int]]:
    """The rows of the most common length, and how many rows each other length has.

    Of two lengths as common the shorter is kept. Raises TaskError where ``length`` is
    ``"refuse"`` and there are several.
    """
    counts = Counter(len(row.clean) for row in rows)
    if length == "refuse" and len(counts) > 1:
        lines = lines_by([(len(row.clean), row.where) for row in rows])
        listed = "; ".join(f"{n} tokens: {where}" for n, where in lines.items())
        raise TaskError(
            f"The prompts of {name} have unequal lengths, and one batch needs one length. Without "
            f"BOS, {listed}. Give each length its own file, or length='most' to keep the most "
            "common one."
        )
    wanted = max(sorted(counts), key=lambda n: counts[n])
    left = {str(n): count for n, count in sorted(counts.items()) if n != wanted}
    return [row for row in rows if len(row.clean) == wanted], left


def require_one_count(name: str, rows: Sequence[PairTokens]) -> None:
    """Raises TaskError where rows have different numbers of wrong answers."""
    lines = lines_by([(len(row.answers) - 1, row.where) for row in rows])
    if len(lines) > 1:
        listed = "; ".join(f"{n} wrong: {where}" for n, where in lines.items())
        raise TaskError(
            f"The rows of {name} have different numbers of wrong answers, and a metric needs one "
            f"number: {listed}."
        )
