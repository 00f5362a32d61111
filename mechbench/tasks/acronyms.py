"""The acronym task: ``The Ketchup Lark Wreck (KL`` -> ``W``, generated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import product
from string import ascii_uppercase
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from mechbench.errors import TaskError, TokenizerError
from mechbench.tasks.acronym_frame import (
    OPENING,
    AcronymFrame,
    FrameTokens,
    acronym_frame,
    frame_tokens,
    piece_labels,
)
from mechbench.tasks.acronym_task import AcronymTask
from mechbench.tasks.acronym_words import WordTable, word_tables
from mechbench.tasks.seeds import seeded
from mechbench.tasks.tokens import bos_id, pieces, text_ids, texts_ids, tokenizer_facts

PREFIX = "The"
_POOL = 20_000  # more than 26 cubed, so three letters are enumerated in full


def acronyms(
    tokenizer: Any,
    n: int = 64,
    *,
    seed: int = 0,
    words: Sequence[str] | None = None,
    letters: int = 3,
    against: str = "max",
) -> AcronymTask:
    """Acronym prompts with balanced letters.

    The frame is ``BOS The C1 T1 C2 T2 C3 T3 ( A1 A2`` (11 tokens) where the tokenizer has words of
    a spaced capital and one tail token for at least half of the letters that it could have with
    longer tails; otherwise the one tail length that serves the most letters is used for all words,
    and ``source["frame"]`` says so. Letters are spread evenly in each slot, as far as the
    usable words and acronyms allow; acronyms that the tokenizer merges (``USA``) are never
    used. Balance comes before variety: where merges leave a letter few acronyms (GPT-2), large
    batches repeat those; ``source["distinct_acronyms"]`` counts. A letter may occur twice in an
    acronym; a word is not repeated within a prompt where its letter has another.

    Args:
        tokenizer: Hugging Face's interface, e.g. ``model.tokenizer``.
        n: number of prompts.
        seed: the same seed gives the same prompts.
        words: capitalised words; the held-out words of the shipped list by default.
        letters: words per prompt.
        against: default of ``AcronymTask.metric``.

    Raises:
        TaskError: ``n`` or ``letters`` below 1, or words that do not begin with a capital.
        TokenizerError: no BOS token, or no word or acronym splits as the task needs.

    Source: Garcia-Carrasco et al. 2024 for the frame; balance is our choice.
    """
    for name, value in (("n", n), ("letters", letters)):
        if value < 1:
            raise TaskError(f"acronyms needs {name} of at least 1, got {value}.")
    bos = bos_id(tokenizer)
    tokens = frame_tokens(tokenizer, PREFIX)
    given_words = default_words() if words is None else words
    tables = word_tables(tokenizer, PREFIX, given_words, tokens.spaced_capitals)
    n_tail = _tail_length(tables)
    table = tables[n_tail]
    prefix_ids = text_ids(tokenizer, PREFIX)
    frame = acronym_frame(
        piece_labels(PREFIX, len(prefix_ids)), [n_tail] * letters, len(tokens.opening)
    )
    rng = seeded(seed, n, letters)
    chosen = _balanced(rng, _acronym_pool(tokenizer, rng, table, tokens, letters), n)
    rows = _draw_words(rng, table, chosen)
    clean = np.concatenate(
        [
            np.tile([bos, *prefix_ids], (n, 1)),
            table.ids[rows].reshape(n, -1),
            np.tile(tokens.opening, (n, 1)),
            tokens.capitals[chosen[:, :-1]],
        ],
        axis=1,
    )
    texts = tuple(tuple(table.words[i] for i in row) for row in rows)
    whole = [prompt_text(row, a) for row, a in zip(texts, chosen, strict=True)]
    check_split(tokenizer, clean[:, 1:], whole)
    return AcronymTask(
        name="acronyms",
        clean=torch.from_numpy(clean),
        letters=torch.from_numpy(chosen),
        words=texts,
        frame=frame,
        capitals=torch.from_numpy(tokens.capitals),
        spaced_capitals=torch.from_numpy(tokens.spaced_capitals),
        tables={n_tail: table},
        against=against,
        source={
            "generator": "acronyms",
            "n": n,
            "seed": seed,
            "tokenizer": tokenizer_facts(tokenizer),
            "words_given": len(set(given_words)),
            "words_usable": len(table.words),
            **acronym_facts(frame, clean, chosen),
        },
    )


def default_words() -> Sequence[str]:
    """The held-out words of the shipped list, which no bundled model was trained on."""
    from mechbench.tasks.words import held_out_words

    return held_out_words()


def prompt_text(words: Sequence[str], letters: np.ndarray) -> str:
    """A prompt as text: ``The Ketchup Lark Wreck (KL``."""
    given = "".join(ascii_uppercase[i] for i in letters[:-1])
    return " ".join([PREFIX, *words]) + OPENING + given


def check_split(tokenizer: Any, ids: np.ndarray, texts: Sequence[str]) -> None:
    """Raises TokenizerError where a text is not split into the ids that were put together."""
    for text, row, expected in zip(texts, texts_ids(tokenizer, texts), ids, strict=True):
        if row != expected.tolist():
            raise TokenizerError(
                f"The tokenizer splits {text!r} into {pieces(tokenizer, row)} instead of "
                f"{pieces(tokenizer, expected.tolist())}. Give other words with words=[...]."
            )


def acronym_facts(frame: AcronymFrame, clean: np.ndarray, letters: np.ndarray) -> dict[str, Any]:
    """The provenance that every acronym task has: frame, balance, repeats, hash of the prompts."""
    counts = [Counter(ascii_uppercase[i] for i in slot) for slot in letters.T.tolist()]
    kind = "exact 11-token frame" if frame.exact else "longest common frame"
    return {
        "frame": f"{kind}, {len(frame.labels)} tokens",
        "position_labels": list(frame.labels),
        "letter_counts": [dict(sorted(c.items())) for c in counts],
        "repeated_letters": sum(len(set(row)) < len(row) for row in letters.tolist()),
        "distinct_acronyms": len({tuple(row) for row in letters.tolist()}),
        "prompts_sha256": sha256(clean.astype("<i8").tobytes()).hexdigest(),
    }


def _tail_length(tables: Mapping[int, WordTable]) -> int:
    n_letters = {n_tail: len(table.letters) for n_tail, table in tables.items()}
    best = max(n_letters, key=lambda n_tail: (n_letters[n_tail], -n_tail))
    return 1 if 2 * n_letters.get(1, 0) >= n_letters[best] else best


def _acronym_pool(
    tokenizer: Any, rng: Generator, table: WordTable, tokens: FrameTokens, letters: int
) -> np.ndarray:
    """Acronyms ``[acronym letter]`` that stay single letters in context."""
    if len(table.letters) ** letters <= _POOL:
        pool = np.array(list(product(table.letters, repeat=letters)))
    else:
        pool = np.unique(rng.choice(table.letters, (_POOL, letters)), axis=0)
    start = PREFIX + OPENING
    strings = ["".join(ascii_uppercase[i] for i in row) for row in pool.tolist()]
    rows = texts_ids(tokenizer, [start + string for string in strings])
    n_start = len(text_ids(tokenizer, start))
    expected = tokens.capitals[pool].tolist()
    keep = [row[n_start:] == ids for row, ids in zip(rows, expected, strict=True)]
    if not any(keep):
        shown = {s: pieces(tokenizer, r[n_start:]) for s, r in zip(strings[:5], rows, strict=False)}
        raise TokenizerError(
            f"All {len(pool)} acronyms of {letters} letters that the words allow are merged by the "
            f"tokenizer, e.g. {shown}. Give words with other initials, or fewer letters."
        )
    return pool[np.array(keep)]


def _balanced(rng: Generator, pool: np.ndarray, n: int) -> np.ndarray:
    """``n`` acronyms of the pool, every slot's letters as evenly used as a greedy choice can.

    Each is one whose letters are used least in their slots, then one that is used least itself;
    two more rounds choose each again, given the others, because a pool may hold a rare letter in a
    few acronyms only.
    """
    slots = np.arange(pool.shape[1])
    counts = np.zeros((pool.shape[1], 26), dtype=int)
    uses = np.zeros(len(pool), dtype=int)
    chosen = np.zeros(n, dtype=int)
    for step in range(3 * n):
        i = step % n
        if step >= n:
            uses[chosen[i]] -= 1
            counts[slots, pool[chosen[i]]] -= 1
        cost = counts[slots, pool].sum(1)
        best = np.flatnonzero(cost == cost.min())
        chosen[i] = rng.choice(best[uses[best] == uses[best].min()])
        uses[chosen[i]] += 1
        counts[slots, pool[chosen[i]]] += 1
    return pool[rng.permutation(chosen)]


def _draw_words(rng: Generator, table: WordTable, letters: np.ndarray) -> np.ndarray:
    """Word indices ``[prompt letter]``."""
    rows = np.empty_like(letters)
    for slot in range(letters.shape[1]):
        rows[:, slot] = table.draw(rng, letters[:, slot])
        for _ in range(20):
            clash = (rows[:, [slot]] == rows[:, :slot]).any(1)
            if not clash.any():
                break
            rows[clash, slot] = table.draw(rng, letters[clash, slot])
    return rows
