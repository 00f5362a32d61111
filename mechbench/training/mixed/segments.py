"""What a segment of the common corpus is, and the pieces that the tasks build theirs from.

Suffixes: N segment, S slot of a segment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from mechbench.errors import TokenizerError
from mechbench.training.mixed.words import LINE_END


@dataclass(frozen=True)
class Segments:
    """Lines of text of different lengths, one a row; each ends in a line break.

    Attributes:
        ids: token ids ``[segment slot]``.
        used: which slots hold a token of the text, ``[segment slot]``; the others are skipped.
        scored: which tokens are answers, ``[segment slot]``: each follows from the tokens before
            it, in its own segment or (facts) from the fact table.
    """

    ids: np.ndarray
    used: np.ndarray
    scored: np.ndarray


class SegmentSource(Protocol):
    """A task of the corpus.

    Attributes:
        name: in shares, scores and cards.
        shortest: tokens of its shortest segment.
        chance: probability that a guess is right which knows the task's form and nothing else;
            each source says what is guessed among. None for text without answers.
    """

    @property
    def name(self) -> str: ...
    @property
    def shortest(self) -> int: ...
    @property
    def chance(self) -> float | None: ...

    def draw(self, rng: np.random.Generator, n: int, *, held_out: bool = False) -> Segments:
        """``n`` segments; with ``held_out`` such as training never shows."""
        ...


def part(
    ids: np.ndarray, used: np.ndarray | bool = True, scored: np.ndarray | bool = False
) -> Segments:
    """Some slots of segments, used and scored as told; ``ids [segment slot]``."""
    used = np.broadcast_to(used, ids.shape)
    return Segments(ids, used, np.broadcast_to(scored, ids.shape) & used)


def constant(token: int, n: int) -> Segments:
    """One slot that holds the same token in all ``n`` segments."""
    return part(np.full((n, 1), token))


def join(parts: Iterable[Segments]) -> Segments:
    """The parts side by side, as one segment a row."""
    parts = list(parts)
    return Segments(
        np.concatenate([p.ids for p in parts], axis=1),
        np.concatenate([p.used for p in parts], axis=1),
        np.concatenate([p.scored for p in parts], axis=1),
    )


def distinct(rng: np.random.Generator, allowed: np.ndarray, n_drawn: int) -> np.ndarray:
    """``[segment n_drawn]`` options out of those ``allowed [segment option]``, each once a row."""
    order = np.where(allowed, rng.random(allowed.shape), 2.0)
    return order.argpartition(n_drawn - 1, axis=1)[:, :n_drawn]


def token_ids(tokenizer: Tokenizer, words: Sequence[str], space: str = " ") -> np.ndarray:
    """The id of each word, with a space before it.

    Raises:
        TokenizerError: a word is not one token.
    """
    rows = [encoding.ids for encoding in tokenizer.encode_batch([space + w for w in words])]
    split = [word for word, row in zip(words, rows, strict=True) if len(row) != 1]
    if split:
        raise TokenizerError(
            f"The common corpus needs each of its words as one token, and this tokenizer splits "
            f"{split[:5]}. Write 'tokenizer: mixed' in the recipe."
        )
    return np.array([row[0] for row in rows], dtype=np.int64)


def line_end(tokenizer: Tokenizer) -> int:
    """The id of the token that ends every segment."""
    return int(token_ids(tokenizer, [LINE_END], space="")[0])
