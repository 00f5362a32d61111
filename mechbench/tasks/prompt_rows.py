"""Rows of users' prompts from a CSV or JSONL file or a dataset, with their line numbers."""

import csv
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from mechbench.errors import TaskError

_SHOWN = 10


@dataclass(frozen=True)
class Record:
    """A row as the user wrote it, and where: ``line 3`` of a file, ``row 2`` of a dataset."""

    where: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Table:
    """The rows of a source in order.

    Attributes:
        name: of the file, without its folder, or ``dataset``.
        columns: of all rows together; None for JSONL, where each line has its own.
        rows: records, and rows that could not be read as one.
    """

    name: str
    columns: tuple[str, ...] | None
    rows: tuple[Record | BadRow, ...]

    def require(self, columns: Sequence[str]) -> None:
        """Raises TaskError where a column is missing from all rows."""
        missing = [] if self.columns is None else [c for c in columns if c not in self.columns]
        if missing:
            title = "The dataset" if self.name == "dataset" else self.name
            raise TaskError(
                f"{title} has no column {missing[0]!r}; it has {list(self.columns or ())}. Name "
                f"the columns {_listed(columns)}."
            )


def read_table(source: Any, *, wanted: Sequence[str], keep_spaces: bool = False) -> Table:
    """The rows of a file or a dataset.

    Args:
        source: path of a ``.csv`` file with a header or of a ``.jsonl`` file, in UTF-8, or a
            ``datasets.Dataset``.
        wanted: the columns that the messages ask for; nothing is checked against them here.
        keep_spaces: whether the fields of a CSV file keep spaces after their commas.

    Raises:
        TaskError: the file cannot be read or decoded, or nothing is in it.
    """
    if isinstance(source, str | Path):
        table = _file_table(Path(source), wanted, keep_spaces)
    else:
        table = _dataset_table(source)
    if not table.rows:
        raise TaskError(
            f"{table.name} holds no prompts: give at least one row of {_listed(wanted)}."
        )
    return table


def text_problem(column: str, value: Any) -> str | None:
    """Why a value is no text that can be tokenised; None where it is."""
    if not isinstance(value, str) or not value.strip():
        return f"{column} must be text, got {value!r}"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return f"{column} holds half a surrogate pair: {value!a}"
    return None


def raise_bad_rows(name: str, bad: Sequence[BadRow], n_rows: int) -> None:
    """Raises one TaskError for all bad rows, in order; the first ten are listed."""
    if bad:
        bad = sorted(bad, key=lambda row: int(row.where.split()[1]))
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        listed = "; ".join(f"{row.where}: {row.reason}" for row in bad[:_SHOWN])
        raise TaskError(f"{len(bad)} of {n_rows} rows of {name} cannot be used. {listed}{more}.")


def lines_by(keyed: Sequence[tuple[Any, str]]) -> dict[Any, str]:
    """Where the rows of each key are, keys sorted, the first ten of each named."""
    groups: dict[Hashable, list[str]] = {}
    for key, where in keyed:
        groups.setdefault(key, []).append(where)
    return {
        key: ", ".join(wheres[:_SHOWN])
        + (f" and {len(wheres) - _SHOWN} more" if len(wheres) > _SHOWN else "")
        for key, wheres in sorted(groups.items())
    }


def _listed(columns: Sequence[str]) -> str:
    return " and ".join([", ".join(columns[:-1]), columns[-1]] if columns[1:] else columns)


def _file_table(path: Path, wanted: Sequence[str], keep_spaces: bool) -> Table:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl"):
        raise TaskError(
            f"{path.name!r} is not a prompt file: expected .csv (with the header "
            f"{','.join(wanted)}) or .jsonl (one object with {_listed(wanted)} on a line)."
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
        raise TaskError(f"{path.name} is empty: give at least one row of {_listed(wanted)}.")
    if suffix == ".jsonl":
        return Table(path.name, None, tuple(_jsonl_rows(text)))
    return _csv_table(path.name, text, keep_spaces)


def _csv_table(name: str, text: str, keep_spaces: bool) -> Table:
    reader = csv.reader(StringIO(text, newline=""), skipinitialspace=not keep_spaces, strict=True)
    header: tuple[str, ...] = ()
    rows: list[Record | BadRow] = []
    line = 1
    try:
        for fields in reader:
            where, line = f"line {line}", reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = tuple(field.strip() for field in fields)
            elif len(fields) != len(header):
                reason = f"{len(fields)} fields where the header has {len(header)}"
                rows.append(BadRow(where, reason))
            else:
                rows.append(Record(where, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise TaskError(f"{name} is not CSV at line {reader.line_num}: {error}.") from None
    return Table(name, header, tuple(rows))


def _jsonl_rows(text: str) -> Iterator[Record | BadRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deeply nested"
            yield BadRow(where, f"no JSON ({reason})")
            continue
        if isinstance(values, dict):
            yield Record(where, values)
        else:
            yield BadRow(where, f"a JSON {type(values).__name__} where an object was expected")


def _dataset_table(source: Any) -> Table:
    from datasets import Dataset  # seconds to import, and most tasks have no use for it

    if not isinstance(source, Dataset):
        raise TaskError(
            f"Prompts come from a path or a datasets.Dataset, got {type(source).__name__}. Of a "
            "DatasetDict choose one split."
        )
    rows = tuple(Record(f"row {i}", dict(values)) for i, values in enumerate(source))
    return Table("dataset", tuple(source.column_names), rows)
