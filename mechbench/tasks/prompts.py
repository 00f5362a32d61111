"""The acronym task on a user's own prompts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np
import torch

from mechbench.errors import TaskError
from mechbench.tasks.acronym_frame import (
    OPENING,
    FrameTokens,
    acronym_frame,
    frame_tokens,
    piece_labels,
)
from mechbench.tasks.acronym_task import AcronymTask
from mechbench.tasks.acronym_words import word_tables
from mechbench.tasks.acronyms import PREFIX, acronym_facts, default_words
from mechbench.tasks.prompt_rows import (
    BadRow,
    Record,
    lines_by,
    raise_bad_rows,
    read_table,
    text_problem,
)
from mechbench.tasks.tokens import bos_id, continuation_ids, pieces, texts_ids, tokenizer_facts

COLUMNS = ("prompt", "acronym")


@dataclass(frozen=True)
class _Parts:
    """A row cut into prefix, words and acronym."""

    where: str
    prefix: str
    words: tuple[str, ...]
    acronym: str

    @property
    def text(self) -> str:
        """The prompt with all letters of its acronym."""
        return " ".join([self.prefix, *self.words]) + OPENING + self.acronym


@dataclass(frozen=True)
class _Split:
    """A row as tokens: how many each part has, and the ids of the whole."""

    parts: _Parts
    n_prefix: int
    n_tails: tuple[int, ...]
    ids: tuple[int, ...]


def load_prompts(
    path_or_dataset: Any,
    tokenizer: Any,
    *,
    words: Sequence[str] | None = None,
    against: str = "max",
) -> AcronymTask:
    """The acronym task on the prompts of a CSV or JSONL file or of a ``datasets.Dataset``.

    A row has ``prompt`` and ``acronym``, e.g. ``The Ketchup Lark Wreck (`` and ``KLW``. A prompt is
    some text (here ``The``), one capitalised word for each letter of the acronym, and optionally
    `` (`` and first letters of the acronym. Prompts are put into the form BOS, text, words, `` (``,
    all letters but the last, so that one forward pass scores every letter. Each word must be the
    token of its spaced capital and a tail, each letter one token, and all prompts must be split
    alike, because results are averaged position by position.

    Args:
        path_or_dataset: see ``mechbench.tasks.prompt_rows.read_table``.
        words: what resampling may draw from besides the prompts' own words; the held-out words of
            the shipped list by default.
        against: default of ``AcronymTask.metric``.

    Raises:
        TaskError: no readable rows; bad rows, listed with their lines and tokens; prompts of
            unequal length or split, with the lines of each.
        TokenizerError: no BOS token, or capitals that are not single tokens.
    """
    table = read_table(path_or_dataset, wanted=COLUMNS)
    table.require(COLUMNS)
    bos = bos_id(tokenizer)
    tokens = frame_tokens(tokenizer, PREFIX)
    parsed = [row if isinstance(row, BadRow) else _parse(row) for row in table.rows]
    parts = [row for row in parsed if isinstance(row, _Parts)]
    split = _split_all(tokenizer, tokens, parts)
    bad = [row for row in [*parsed, *split] if isinstance(row, BadRow)]
    raise_bad_rows(table.name, bad, len(table.rows))
    good = [row for row in split if isinstance(row, _Split)]
    _require_one_split(table.name, good)
    first = good[0]
    clean = np.array([[bos, *row.ids[:-1]] for row in good])
    letters = np.array([[ascii_uppercase.index(c) for c in row.parts.acronym] for row in good])
    alike = all(row.parts.prefix == PREFIX for row in good)
    n = first.n_prefix
    prefix_labels = piece_labels(PREFIX, n) if alike else [f"P{i}" for i in range(1, n + 1)]
    frame = acronym_frame(prefix_labels, first.n_tails, len(tokens.opening))
    more = default_words() if words is None else words
    own = {word for row in good for word in row.parts.words}
    return AcronymTask(
        name="prompts",
        clean=torch.from_numpy(clean),
        letters=torch.from_numpy(letters),
        words=tuple(row.parts.words for row in good),
        frame=frame,
        capitals=torch.from_numpy(tokens.capitals),
        spaced_capitals=torch.from_numpy(tokens.spaced_capitals),
        tables=word_tables(tokenizer, PREFIX, [*own, *more], tokens.spaced_capitals),
        against=against,
        source={
            "generator": "prompts",
            "file": table.name,
            "n": len(good),
            "tokenizer": tokenizer_facts(tokenizer),
            **acronym_facts(frame, clean, letters),
        },
    )


def _parse(row: Record) -> _Parts | BadRow:
    for column in COLUMNS:
        problem = text_problem(column, row.values.get(column))
        if problem:
            return BadRow(row.where, problem)
    prompt, acronym = (row.values[column].strip() for column in COLUMNS)
    if not re.fullmatch("[A-Z]+", acronym):
        return BadRow(row.where, f"acronym {acronym!r} must be capital letters A to Z")
    n = len(acronym)
    form = rf"(?P<prefix>.*\S)(?P<words>(?: [A-Z][^\s(]*){{{n}}})(?: ?\((?P<given>[A-Z]*))?"
    match = re.fullmatch(form, prompt)
    words = match["words"].split() if match else []
    if match is None or "".join(word[0] for word in words) != acronym:
        return BadRow(
            row.where,
            f"{prompt!r} must be some text and then {n} words that begin with "
            f"{', '.join(acronym)}, with '(' or nothing after them",
        )
    if not acronym[:-1].startswith(match["given"] or ""):
        return BadRow(row.where, f"'({match['given']}' is not how {acronym!r} begins")
    return _Parts(row.where, match["prefix"], tuple(words), acronym)


def _split_all(
    tokenizer: Any, tokens: FrameTokens, rows: Sequence[_Parts]
) -> list[_Split | BadRow]:
    words = sorted({word for row in rows for word in row.words})
    found = continuation_ids(tokenizer, PREFIX, [f" {word}" for word in words])
    word_ids = dict(zip(words, found, strict=True))
    prefixes = sorted({row.prefix for row in rows})
    prefix_ids = dict(zip(prefixes, texts_ids(tokenizer, prefixes), strict=True))
    wholes = texts_ids(tokenizer, [row.text for row in rows])
    return [
        _split(tokenizer, tokens, row, whole, prefix_ids[row.prefix], word_ids)
        for row, whole in zip(rows, wholes, strict=True)
    ]


def _split(
    tokenizer: Any,
    tokens: FrameTokens,
    row: _Parts,
    whole: Sequence[int],
    prefix_ids: Sequence[int],
    word_ids: Mapping[str, list[int] | None],
) -> _Split | BadRow:
    def bad(reason: str) -> BadRow:
        return BadRow(row.where, f"{reason}; {row.text!r} is split into {pieces(tokenizer, whole)}")

    n_tails = []
    expected = list(prefix_ids)
    for word in row.words:
        ids = word_ids[word] or []
        if len(ids) < 2 or ids[0] != tokens.spaced_capitals[ascii_uppercase.index(word[0])]:
            return bad(f"{word!r} must be the token {' ' + word[0]!r} and a tail")
        n_tails.append(len(ids) - 1)
        expected += ids
    expected += tokens.opening
    letters = [int(tokens.capitals[ascii_uppercase.index(c)]) for c in row.acronym]
    if list(whole) != expected + letters:
        if list(whole[: len(expected)]) == expected:
            return bad(f"each letter of {row.acronym!r} must be one token after '('")
        return bad("text, words and '(' must be split as they are by themselves")
    return _Split(row, len(prefix_ids), tuple(n_tails), tuple(whole))


def _require_one_split(name: str, rows: Sequence[_Split]) -> None:
    lengths = lines_by([(len(row.ids), row.parts.where) for row in rows])
    if len(lengths) > 1:
        listed = "; ".join(f"{n} tokens: {lines}" for n, lines in lengths.items())
        raise TaskError(
            f"The prompts of {name} have unequal lengths, and one batch needs one length. With BOS "
            f"and without the last letter, {listed}. Edit them, or give each length its own file."
        )
    shapes = lines_by([((row.n_prefix, *row.n_tails), row.parts.where) for row in rows])
    if len(shapes) > 1:
        listed = "; ".join(
            f"{n} tokens of text and words of {', '.join(str(1 + t) for t in tails)}: {lines}"
            for (n, *tails), lines in shapes.items()
        )
        raise TaskError(
            f"The prompts of {name} have one length and are split differently, so positions would "
            f"not mean the same: {listed}. Edit them, or give each kind its own file."
        )
