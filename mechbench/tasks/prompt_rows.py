"""Rows of prompts and acronyms from a CSV or JSONL file or a dataset, with their line numbers."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from mechbench.errors import TaskError

COLUMNS = ("prompt", "acronym")
_SHOWN = 10


@dataclass(frozen=True)
class PromptRow:
    """A row as the user wrote it, and where: ``line 3`` of a file, ``row 2`` of a dataset."""

    where: str
    prompt: str
    acronym: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    where: str
    reason: str


def read_rows(source: Any) -> tuple[str, list[PromptRow], list[BadRow]]:
    """The name of the source, its rows in order, and the rows that are no rows of text.

    Args:
        source: path of a ``.csv`` file with a header or of a ``.jsonl`` file, in UTF-8, or a
            ``datasets.Dataset``. The columns ``prompt`` and ``acronym`` are read, others ignored.

    Raises:
        TaskError: the file cannot be read or decoded, a column is missing, or nothing is in it.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        name, found = path.name, _file_rows(path)
    else:
        name, found = "dataset", _dataset_rows(source)
    rows: list[PromptRow] = []
    bad: list[BadRow] = []
    for row in found:
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            rows.append(row)
    if not rows and not bad:
        raise TaskError(f"{name} holds no prompts: give at least one row of prompt and acronym.")
    return name, rows, bad


def raise_bad_rows(name: str, bad: Sequence[BadRow], n_rows: int) -> None:
    """Raises one TaskError for all bad rows; the first ten are listed."""
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        listed = "; ".join(f"{row.where}: {row.reason}" for row in bad[:_SHOWN])
        raise TaskError(f"{len(bad)} of {n_rows} rows of {name} cannot be used. {listed}{more}.")


def _file_rows(path: Path) -> Iterator[PromptRow | BadRow]:
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if path.suffix.lower() not in readers:
        raise TaskError(
            f"{path.name!r} is not a prompt file: expected .csv (with the header prompt,acronym) "
            "or .jsonl (one object with prompt and acronym on a line)."
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TaskError(
            f"The prompt file {str(path)!r} cannot be read: {error.strerror}."
        ) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise TaskError(
            f"{path.name} is not UTF-8: byte {error.start} (line {line}) cannot be decoded. Save "
            "the file as UTF-8."
        ) from None
    if not text.strip():
        raise TaskError(f"{path.name} is empty: give at least one row of prompt and acronym.")
    return readers[path.suffix.lower()](path.name, text)


def _csv_rows(name: str, text: str) -> Iterator[PromptRow | BadRow]:
    reader = csv.reader(StringIO(text, newline=""), skipinitialspace=True, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in reader:
            where, line = f"line {line}", reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if header is None:
                header = [field.strip() for field in fields]
                _require_columns(name, header)
            elif len(fields) != len(header):
                yield BadRow(where, f"{len(fields)} fields where the header has {len(header)}")
            else:
                yield _row(where, dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise TaskError(f"{name} is not CSV at line {reader.line_num}: {error}.") from None


def _jsonl_rows(name: str, text: str) -> Iterator[PromptRow | BadRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deeply nested"
            yield BadRow(where, f"no JSON ({reason})")
            continue
        if isinstance(record, dict):
            yield _row(where, record)
        else:
            yield BadRow(where, f"a JSON {type(record).__name__} where an object was expected")


def _dataset_rows(source: Any) -> Iterator[PromptRow | BadRow]:
    from datasets import Dataset  # seconds to import, and most tasks have no use for it

    if not isinstance(source, Dataset):
        raise TaskError(
            f"Prompts come from a path or a datasets.Dataset, got {type(source).__name__}. Of a "
            "DatasetDict choose one split."
        )
    _require_columns("The dataset", source.column_names)
    records = zip(source["prompt"], source["acronym"], strict=True)
    return (
        _row(f"row {i}", {"prompt": prompt, "acronym": acronym})
        for i, (prompt, acronym) in enumerate(records)
    )


def _require_columns(name: str, columns: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise TaskError(
            f"{name} has no column {missing[0]!r}; it has {list(columns)}. Name the "
            "columns prompt and acronym."
        )


def _row(where: str, record: Mapping[str, Any]) -> PromptRow | BadRow:
    for column in COLUMNS:
        value = record.get(column)
        if not isinstance(value, str) or not value.strip():
            return BadRow(where, f"{column} must be text, got {value!r}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            return BadRow(where, f"{column} holds half a surrogate pair: {value!a}")
    return PromptRow(where, record["prompt"].strip(), record["acronym"].strip())
