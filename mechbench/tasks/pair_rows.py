"""Rows of clean prompt, corrupted prompt and answers, in the layouts that are in use."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.prompt_rows import BadRow, Record, Table, text_problem

# The first spelling that a table has is taken. The last three of CORRUPTED are what MIB takes.
CLEAN = ("clean", "clean_prompt", "prompt")
CORRUPTED = (
    "corrupted",
    "corrupt",
    "corrupted_prompt",
    "corrupt_prompt",
    "counterfactual",
    "counterfactual_prompt",
    "s2_io_flip_counterfactual",
    "symbol_counterfactual",
    "random_counterfactual",
)
ANSWER = ("answer", "answers", "correct", "correct_answer", "correct_idx")
WRONG = (
    "wrong",
    "wrong_answer",
    "wrong_answers",
    "incorrect",
    "incorrect_answer",
    "incorrect_answers",
    "incorrect_idx",
)
_TOKEN_IDS = r".*_(idx|id|token)s?"


@dataclass(frozen=True)
class PairColumns:
    """The columns that are read; answers are None where a nested row says them itself."""

    clean: str
    corrupted: str
    answer: str | None
    wrong: str | None


@dataclass(frozen=True)
class PairRow:
    """A pair and its answers: texts, or token ids where the row gives ids."""

    where: str
    clean: str
    corrupted: str
    answer: str | int
    wrong: tuple[str | int, ...]


class _Unusable(Exception):
    """Why a row is no pair."""


def pair_columns(table: Table, given: Mapping[str, str | None]) -> PairColumns:
    """The columns of a table, as given or by their common spellings.

    Args:
        table: of any layout.
        given: the user's names for ``clean``, ``corrupted``, ``answer`` and ``wrong``, or None.

    Raises:
        TaskError: a column that is not there, or no column of a known spelling.
    """
    records = [row for row in table.rows if isinstance(row, Record)]
    columns = list(table.columns or dict.fromkeys(key for row in records for key in row.values))

    def pick(what: str, spellings: Sequence[str], *, needed: bool) -> str | None:
        name = given[what]
        if name is not None:
            if name not in columns:
                raise TaskError(
                    f"{table.name} has no column {name!r} for {what}. {did_you_mean(name, columns)}"
                )
            return name
        found = next((name for name in spellings if name in columns), None)
        if found is None and needed:
            raise TaskError(
                f"{table.name} has the columns {columns}, and none of them is a known name for "
                f"{what} ({', '.join(spellings)}). Say which it is: {what}='...'."
            )
        return found

    clean = pick("clean", CLEAN, needed=True)
    corrupted = pick("corrupted", CORRUPTED, needed=True)
    assert clean is not None and corrupted is not None
    nested = any(isinstance(row.values.get(corrupted), Mapping) for row in records)
    return PairColumns(
        clean,
        corrupted,
        pick("answer", ANSWER, needed=not nested),
        pick("wrong", WRONG, needed=False),
    )


def pair_row(record: Record, columns: PairColumns) -> PairRow | BadRow:
    """The pair in a row, or why there is none."""
    values = record.values
    other = values.get(columns.corrupted)
    try:
        clean = _text(columns.clean, values.get(columns.clean))
        if isinstance(other, Mapping):
            corrupted = _text(f"{columns.corrupted}.prompt", other.get("prompt"))
        else:
            corrupted = _text(columns.corrupted, other)
        if columns.answer is None:
            answer, *wrong = _mib_answers(values, other, columns.corrupted)
        else:
            answers = _answers(columns.answer, values.get(columns.answer))
            if len(answers) != 1:
                raise _Unusable(f"{columns.answer} must be one answer, got {answers}")
            answer, wrong = answers[0], []
        if columns.wrong is not None:
            wrong = _answers(columns.wrong, values.get(columns.wrong))
    except _Unusable as problem:
        return BadRow(record.where, str(problem))
    return PairRow(record.where, clean, corrupted, answer, tuple(wrong))


def _text(column: str, value: Any) -> str:
    problem = text_problem(column, value)
    if problem:
        raise _Unusable(problem)
    return value


def _answers(column: str, value: Any) -> list[str | int]:
    """The answers of a field: one, a list, or a JSON list as text (in a CSV file)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise _Unusable(f"{column} begins with '[' and is no JSON list: {value!r}") from None
    found = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [_answer(column, one) for one in found]


def _answer(column: str, value: Any) -> str | int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if re.fullmatch(_TOKEN_IDS, column):
        if is_number or (isinstance(value, str) and value.strip().isdecimal()):
            return int(value)
        raise _Unusable(f"{column} must be a token id, got {value!r}")
    return str(value) if is_number else _text(column, value)


def _mib_answers(values: Mapping[str, Any], other: Any, name: str) -> list[str | int]:
    """The answer and the wrong one of a row of MIB's data sets.

    Source: MIB's circuit track. IOI: the names in ``metadata``, with a space before them; MCQA and
    ARC: the label of the answer and that of the counterfactual's answer; arithmetic: the two
    ``label``. Read in its released code.
    """
    metadata = values.get("metadata")
    if isinstance(metadata, Mapping) and {"indirect_object", "subject"} <= set(metadata):
        return [
            " " + _text(f"metadata.{key}", metadata[key]) for key in ("indirect_object", "subject")
        ]
    rows = [(values, ""), (other if isinstance(other, Mapping) else {}, f"{name}.")]
    if all("answerKey" in row for row, _ in rows):
        return [_label(row, prefix) for row, prefix in rows]
    if all("label" in row for row, _ in rows):
        return [_answer(f"{prefix}label", row["label"]) for row, prefix in rows]
    raise _Unusable(
        "no answer: expected metadata with indirect_object and subject, or answerKey or label here "
        f"and in {name}"
    )


def _label(row: Mapping[str, Any], prefix: str) -> str | int:
    choices, key = row.get("choices"), row["answerKey"]
    labels = choices.get("label") if isinstance(choices, Mapping) else None
    if not isinstance(labels, Sequence) or not isinstance(key, int):
        raise _Unusable(f"{prefix}choices.label must be a list and {prefix}answerKey an index")
    if not 0 <= key < len(labels):
        raise _Unusable(f"{prefix}answerKey {key} is not an index of {list(labels)}")
    return _answer(f"{prefix}choices.label", labels[key])
