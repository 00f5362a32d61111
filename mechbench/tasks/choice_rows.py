"""Rows of question, options and answer, in the layouts that are in use."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.choice_items import ChoiceItem, item_problem
from mechbench.tasks.prompt_rows import BadRow, Record, Table, text_problem

# The first spelling that a table has is taken.
QUESTION = ("question", "question_stem", "stem", "prompt")
OPTIONS = ("choices", "options", "answers", "endings")
ANSWER = ("answerKey", "answer", "answer_key", "label", "gold", "correct", "target")
_LETTERS = "ABCDE"


@dataclass(frozen=True)
class ChoiceColumns:
    """The columns that are read.

    Attributes:
        options: one column with all options, several with one each, or none where the question's
            column holds them (the layout in which ARC and CommonsenseQA were released).
        sets: what names each row's set; None where one name serves all.
    """

    question: str
    options: tuple[str, ...]
    answer: str
    sets: str | None


class _Unusable(Exception):
    """Why a row is no question."""


def choice_columns(
    table: Table,
    *,
    question: str | None = None,
    options: str | Sequence[str] | None = None,
    answer: str | None = None,
    sets: str | None = None,
) -> ChoiceColumns:
    """The columns of a table, as given or by their common spellings.

    Raises:
        TaskError: a column that is not there, or no column of a known spelling; the columns that
            there are are named.
    """
    records = [row for row in table.rows if isinstance(row, Record)]
    columns = list(table.columns or dict.fromkeys(key for row in records for key in row.values))

    def present(name: str, what: str) -> str:
        if name not in columns:
            raise TaskError(
                f"{table.name} has no column {name!r} for {what}; it has {columns}. "
                f"{did_you_mean(name, columns)}"
            )
        return name

    def pick(given: str | None, what: str, spellings: Sequence[str]) -> str:
        if given is not None:
            return present(given, what)
        found = next((name for name in spellings if name in columns), None)
        if found is None:
            raise TaskError(
                f"{table.name} has the columns {columns}, and none of them is a known name for "
                f"{what} ({', '.join(spellings)}). Say which it is: {what}='...'."
            )
        return found

    at = pick(question, "question", QUESTION)
    nested = any(isinstance(row.values.get(at), Mapping) for row in records)
    lettered = [letter for letter in _LETTERS if letter in columns]
    if options is not None:
        names = [options] if isinstance(options, str) else list(options)
        chosen = tuple(present(name, "options") for name in names)
    elif nested:
        chosen = ()
    elif len(lettered) > 1 and not any(name in columns for name in OPTIONS):
        chosen = tuple(lettered)
    else:
        chosen = (pick(None, "options", OPTIONS),)
    return ChoiceColumns(
        at, chosen, pick(answer, "answer", ANSWER), sets and present(sets, "set_column")
    )


def choice_item(
    record: Record, columns: ChoiceColumns, set_name: str, first_index: int
) -> ChoiceItem | BadRow:
    """The question in a row, or why there is none.

    Args:
        set_name: of rows that name none.
        first_index: what a number as answer counts from.
    """
    values = record.values
    try:
        asked = values.get(columns.question)
        given = asked.get("choices") if isinstance(asked, Mapping) else _given(values, columns)
        if isinstance(asked, Mapping):
            asked = asked.get("stem")
        question = _text(columns.question, asked)
        texts, labels = _options(given)
        gold = _gold(values.get(columns.answer), texts, labels, columns.answer, first_index)
        problem = item_problem(question, texts, gold)
        if problem:
            raise _Unusable(problem)
        name = set_name if columns.sets is None else _text(columns.sets, values.get(columns.sets))
    except _Unusable as problem:
        return BadRow(record.where, str(problem))
    return ChoiceItem(question, tuple(texts), gold, name)


def _given(values: Mapping[str, Any], columns: ChoiceColumns) -> Any:
    if len(columns.options) == 1:
        return values.get(columns.options[0])
    found = {name: values.get(name) for name in columns.options}
    filled = {name: text for name, text in found.items() if text not in (None, "")}
    return {"text": list(filled.values()), "label": list(filled)}


def _options(given: Any) -> tuple[list[str], list[str] | None]:
    """Texts and, where the row has any, labels: of a list, of records, or of ``text, label``."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError:
            raise _Unusable(f"the options are no list: {given!r}; write a JSON list") from None
    if isinstance(given, Mapping):
        texts, labels = given.get("text"), given.get("label")
    elif isinstance(given, Sequence) and given and all(isinstance(o, Mapping) for o in given):
        texts, labels = [o.get("text") for o in given], [o.get("label") for o in given]
    else:
        texts, labels = given, None
    if not isinstance(texts, Sequence) or isinstance(texts, str):
        raise _Unusable(f"the options must be a list of texts, got {texts!r}")
    checked = [_text("an option", _as_text(text)) for text in texts]
    if labels is None:
        return checked, None
    if len(labels) != len(checked):
        raise _Unusable(f"{len(checked)} options have {len(labels)} labels: {list(labels)}")
    return checked, [str(label) for label in labels]


def _as_text(value: Any) -> Any:
    """Numbers are options too."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _gold(
    answer: Any, texts: Sequence[str], labels: Sequence[str] | None, column: str, first_index: int
) -> int:
    """The place of the right option: by label, by text, or by number."""
    offered = f"the options {list(texts)}" + (f" labelled {list(labels)}" if labels else "")
    said = str(answer).strip()
    if answer is None or not said:
        raise _Unusable(f"{column} is empty, so none of {offered} is right")
    known = labels or _LETTERS[: len(texts)]
    for names in (known, [text.strip() for text in texts]):
        if said in names:
            return list(names).index(said)
    if said.lstrip("-").isdecimal():
        place = int(said) - first_index
        if 0 <= place < len(texts):
            return place
    raise _Unusable(f"{column} {answer!r} is none of {offered}")


def _text(column: str, value: Any) -> str:
    problem = text_problem(column, value)
    if problem:
        raise _Unusable(problem)
    return value
