"""Prompt pairs in a file that somebody uploaded: parsed as data, checked, never executed."""

import csv
import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

from mechbench.errors import TaskError
from mechbench.tasks.pair_rows import ANSWER, CLEAN, CORRUPTED, WRONG
from mechbench.tasks.typed_pairs import TypedPair, checked_pairs

MOST_BYTES = 1_000_000
KINDS = ("json", "jsonl", "csv")
_FIELDS = {"clean": CLEAN, "corrupted": CORRUPTED, "answer": ANSWER, "wrong": WRONG}


def uploaded_pairs(name: str, data: bytes) -> list[TypedPair]:
    """The pairs in the content of a ``.json``, ``.jsonl`` or ``.csv`` file.

    JSON is a list of objects, JSONL one object a line, CSV has a header; the columns clean,
    corrupted, answer and wrong may have their other usual names. ``wrong`` may be left out, or be
    a list.

    Raises:
        TaskError: another kind of file, too large, not UTF-8, no such rows, or rows that
            ``checked_pairs`` refuses.
    """
    kind = name.rpartition(".")[2].lower()
    if kind not in KINDS:
        raise TaskError(f"{name!r} is no {', '.join(KINDS)} file.")
    if len(data) > MOST_BYTES:
        raise TaskError(f"{name!r} has {len(data)} bytes, and {MOST_BYTES} are the most.")
    try:
        rows = _rows(kind, data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise TaskError(f"{name!r} is not text in UTF-8: save it as such.") from None
    except (ValueError, csv.Error, RecursionError) as error:
        raise TaskError(f"{name!r} cannot be read as {kind.upper()}: {error}.") from None
    if not isinstance(rows, list):
        raise TaskError(f"{name!r} holds a {type(rows).__name__}: give a list of pairs.")
    return checked_pairs([_pair(number, row) for number, row in enumerate(rows, 1)])


def _rows(kind: str, text: str) -> Any:
    if kind == "json":
        return json.loads(text)
    if kind == "jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return list(csv.DictReader(StringIO(text), strict=True))


def _pair(number: int, row: Any) -> TypedPair:
    if not isinstance(row, Mapping):
        raise TaskError(f"Pair {number} is a {type(row).__name__}, not an object with texts.")
    values = {}
    for field, names in _FIELDS.items():
        found = next((row[name] for name in names if row.get(name) is not None), None)
        if found is None and field != "wrong":
            raise TaskError(f"Pair {number} has no {field}; it has {sorted(map(str, row))[:8]}.")
        values[field] = found or ""
    wrong = values["wrong"]
    if isinstance(wrong, list):
        values["wrong"] = tuple(wrong)
    texts = [values["clean"], values["corrupted"], values["answer"]]
    texts += wrong if isinstance(wrong, list) else [wrong]
    if not all(isinstance(text, str) for text in texts):
        raise TaskError(f"Pair {number} holds something else than texts.")
    return TypedPair(**values)
