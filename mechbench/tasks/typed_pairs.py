"""Prompt pairs that somebody typed, one a line, kept in a file that the task ``pairs`` reads."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from mechbench.errors import TaskError

MOST_PAIRS, MOST_CHARACTERS = 256, 2000


@dataclass(frozen=True)
class TypedPair:
    """One row. Texts are taken as they are written: an answer usually begins with a space."""

    clean: str
    corrupted: str
    answer: str
    wrong: str = ""


def typed_pairs(clean: str, corrupted: str, answer: str, wrong: str = "") -> list[TypedPair]:
    """The pairs of four texts with one line each; ``wrong`` may be empty.

    Raises:
        TaskError: no lines, other numbers of lines, a line that is empty, or too much of them.
    """
    columns = {
        "clean prompts": _lines(clean),
        "corrupted prompts": _lines(corrupted),
        "answers": _lines(answer),
    }
    if wrong.strip():
        columns["wrong answers"] = _lines(wrong)
    counts = {name: len(lines) for name, lines in columns.items()}
    if len(set(counts.values())) > 1 or not counts["answers"]:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise TaskError(f"There are {told}: write one of each for every pair, one a line.")
    if counts["answers"] > MOST_PAIRS:
        raise TaskError(f"There are {counts['answers']} pairs, and {MOST_PAIRS} are the most.")
    for name, lines in columns.items():
        for number, line in enumerate(lines, 1):
            if not line.strip():
                raise TaskError(f"Line {number} of the {name} is empty.")
            if len(line) > MOST_CHARACTERS:
                raise TaskError(
                    f"Line {number} of the {name} has {len(line)} characters, and "
                    f"{MOST_CHARACTERS} are the most."
                )
    return [TypedPair(*row) for row in zip(*columns.values(), strict=True)]


def keep_pairs(pairs: Sequence[TypedPair], folder: Path) -> Path:
    """The file of the pairs, ``folder/ID.jsonl``, where the id is made of what they are.

    Raises:
        TaskError: the file cannot be written.
    """
    rows = [{k: v for k, v in vars(pair).items() if v} for pair in pairs]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = folder / f"{sha256(text.encode()).hexdigest()[:16]}.jsonl"
    partial = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise TaskError(
            f"The prompts cannot be kept in {str(folder)!r} ({error.strerror}): check the folder."
        ) from error
    return path


def kept_pairs(path: Path) -> list[TypedPair]:
    """The pairs of a file that ``keep_pairs`` wrote.

    Raises:
        TaskError: there is none, or it was written by something else.
    """
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
        return [TypedPair(**json.loads(row)) for row in rows]
    except FileNotFoundError:
        raise TaskError(f"No prompts are kept under {path.stem!r}.") from None
    except (OSError, ValueError, TypeError) as error:
        raise TaskError(f"The prompts kept under {path.stem!r} cannot be read.") from error


def _lines(text: str) -> list[str]:
    """Lines without the empty ones at the end; spaces are kept."""
    return text.replace("\r\n", "\n").rstrip("\n").split("\n") if text.strip() else []
