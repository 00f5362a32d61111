"""Which position of an acronym prompt holds what, and the tokens of single letters in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np

from mechbench.errors import TokenizerError
from mechbench.tasks.tokens import continuation_ids, pieces

OPENING = " ("


@dataclass(frozen=True)
class AcronymFrame:
    """The positions of ``BOS The C1 T1 C2 T2 C3 T3 ( A1 A2`` and of its longer relatives.

    Attributes:
        labels: one per position, all different.
        words: the positions of each word's tokens; the first is C_i, the others T_i.
        given: the positions of the letters that the prompt holds, A_1 to A_{k-1}.
        answers: where each letter is predicted: the bracket, then the letter before.
    """

    labels: tuple[str, ...]
    words: tuple[tuple[int, ...], ...]
    given: tuple[int, ...]
    answers: tuple[int, ...]

    @property
    def capitals(self) -> tuple[int, ...]:
        """The position of each C_i."""
        return tuple(positions[0] for positions in self.words)

    @property
    def tails(self) -> tuple[int, ...]:
        """The last position of each word, T_i."""
        return tuple(positions[-1] for positions in self.words)

    @property
    def exact(self) -> bool:
        """Whether this is the 11-token frame of Garcia-Carrasco et al. 2024."""
        return self == acronym_frame(["The"], (1, 1, 1), 1)


def acronym_frame(prefix: Sequence[str], n_tails: Sequence[int], n_opening: int) -> AcronymFrame:
    """The frame of BOS, labelled prefix tokens, words with these tail lengths, and the bracket."""
    labels = ["BOS", *prefix]
    words = []
    for word, n_tail in enumerate(n_tails, start=1):
        words.append(tuple(range(len(labels), len(labels) + 1 + n_tail)))
        labels += [f"C{word}", *piece_labels(f"T{word}", n_tail)]
    labels += piece_labels("(", n_opening)
    answers = tuple(range(len(labels) - 1, len(labels) - 1 + len(n_tails)))
    labels += [f"A{letter}" for letter in range(1, len(n_tails))]
    return AcronymFrame(tuple(labels), tuple(words), answers[1:], answers)


def piece_labels(name: str, n: int) -> list[str]:
    """``name``, then ``name`` with b, c, ... for the further tokens of one thing."""
    suffixes = ["", *(chr(c) for c in range(ord("b"), ord("z") + 1))]
    return [name + (suffixes[i] if i < 26 else f".{i + 1}") for i in range(n)]


@dataclass(frozen=True, eq=False)
class FrameTokens:
    """Tokens of the frame as they occur after a prefix such as ``The``.

    Attributes:
        opening: the ids of `` (``.
        capitals: the ids of ``A`` to ``Z`` after the bracket, ``[26]``.
        spaced_capitals: the ids of `` A`` to `` Z`` after the prefix, ``[26]``.
    """

    opening: tuple[int, ...]
    capitals: np.ndarray
    spaced_capitals: np.ndarray


def frame_tokens(tokenizer: Any, prefix: str) -> FrameTokens:
    """The tokens of bracket and letters, measured in context.

    Raises:
        TokenizerError: a letter is not one token there; its pieces are shown.
    """
    (opening,) = continuation_ids(tokenizer, prefix, [OPENING])
    if not opening:
        raise TokenizerError(f"The tokenizer merges {prefix!r} with {OPENING!r}.")
    return FrameTokens(
        opening=tuple(opening),
        capitals=_single(tokenizer, prefix + OPENING, list(ascii_uppercase)),
        spaced_capitals=_single(tokenizer, prefix, [f" {c}" for c in ascii_uppercase]),
    )


def _single(tokenizer: Any, start: str, letters: Sequence[str]) -> np.ndarray:
    rows = continuation_ids(tokenizer, start, letters)
    bad = {c: row for c, row in zip(letters, rows, strict=True) if row is None or len(row) != 1}
    if bad:
        shown = {c: pieces(tokenizer, row or []) for c, row in list(bad.items())[:5]}
        raise TokenizerError(
            f"Acronym prompts need each capital letter as one token after {start!r}; for "
            f"{len(bad)} of {len(letters)} this tokenizer has other pieces: {shown}."
        )
    return np.array([row[0] for row in rows if row])
