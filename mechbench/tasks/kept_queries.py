"""Two-hop queries that somebody brought as a file, kept in a folder under a name made of them."""

import os
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from mechbench.errors import TaskError
from mechbench.tasks.prompt_rows import BadRow, Record, raise_bad_rows, read_table, text_problem

MOST_MEGABYTES, MOST_ROWS, MOST_CHARACTERS = 8, 20_000, 2000
SUFFIXES = (".csv", ".jsonl")
_ENTITIES = ("e1_label", "e2_label", "e3_label")
_RELATIONS = ("template", "label")


def keep_queries(name: str, content: bytes, folder: Path) -> Path:
    """The file ``folder/ID.csv`` or ``.jsonl`` with this content, where the id is made of it.

    Its rows are checked for what any model needs (see ``two_hop_file``); whether spans are whole
    tokens depends on the tokenizer and is checked when the task is built.

    Args:
        name: of the file that was brought, for its ending and for messages.

    Raises:
        TaskError: another kind of file, too large or too many rows, no UTF-8, no CSV or JSON, a
            missing column, rows that cannot be used (with their lines), or a folder that cannot be
            written.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise TaskError(f"{name!r} is not a {' or '.join(SUFFIXES)} file.")
    if len(content) > MOST_MEGABYTES * 2**20:
        raise TaskError(
            f"{name} has {len(content) / 2**20:.1f} MB, and {MOST_MEGABYTES} are the most: take "
            "fewer rows."
        )
    path = folder / f"{sha256(content).hexdigest()[:16]}{suffix}"
    partial = folder / f".{token_hex(8)}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        _check(partial, name)
        os.replace(partial, path)
    except OSError as error:
        raise TaskError(
            f"The queries cannot be kept in {str(folder)!r} ({error.strerror}): check the folder."
        ) from error
    except TaskError as error:
        raise TaskError(str(error).replace(partial.name, name)) from None
    finally:
        partial.unlink(missing_ok=True)
    return path


def kept_queries(queries_id: str, folder: Path) -> Path:
    """The file that ``keep_queries`` wrote under this id.

    Raises:
        TaskError: there is none.
    """
    for suffix in SUFFIXES:
        path = folder / f"{queries_id}{suffix}"
        if path.is_file():
            return path
    raise TaskError(f"No queries are kept under {queries_id!r}: bring the file again.")


def _check(path: Path, name: str) -> None:
    table = read_table(path, wanted=_ENTITIES)
    table.require(_ENTITIES)
    if len(table.rows) > MOST_ROWS:
        raise TaskError(f"{name} has {len(table.rows)} rows, and {MOST_ROWS} are the most.")
    bad = [row if isinstance(row, BadRow) else _problem(row) for row in table.rows]
    raise_bad_rows(name, [row for row in bad if row is not None], len(table.rows))


def _problem(row: Record) -> BadRow | None:
    """Why a row cannot be used, if so."""
    for column in _ENTITIES:
        problem = text_problem(column, row.values.get(column))
        if problem:
            return BadRow(row.where, problem)
    for relation in ("r1", "r2"):
        columns = [f"{relation}_{kind}" for kind in _RELATIONS]
        problems = [text_problem(column, row.values.get(column)) for column in columns]
        if all(problems):
            return BadRow(row.where, f"needs {' or '.join(columns)}: {problems[0]}")
    long = [key for key, value in row.values.items() if len(str(value)) > MOST_CHARACTERS]
    if long:
        return BadRow(row.where, f"{long[0]} has more than {MOST_CHARACTERS} characters")
    return None
