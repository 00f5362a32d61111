"""Prompt pairs that somebody typed, one a line, kept in a file that the task ``pairs`` reads."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

from mechbench.errors import TaskError
from mechbench.tasks.tokens import pieces, texts_ids

MOST_PAIRS, MOST_CHARACTERS = 256, 2000
_BETWEEN = "|"  # of several wrong answers


@dataclass(frozen=True)
class TypedPair:
    """One row. Texts are taken as they are written: an answer usually begins with a space.

    ``wrong`` may be several answers.
    """

    clean: str
    corrupted: str
    answer: str
    wrong: str | tuple[str, ...] = ""

    @property
    def wrong_answers(self) -> tuple[str, ...]:
        """None, one or several."""
        return (self.wrong,) if isinstance(self.wrong, str) and self.wrong else tuple(self.wrong)

    @property
    def wrong_line(self) -> str:
        """The wrong answers as they are typed, with | between them."""
        return _BETWEEN.join(self.wrong_answers)


@dataclass(frozen=True)
class SplitPair:
    """The tokens of a pair as a tokenizer splits it, as texts."""

    clean: tuple[str, ...]
    corrupted: tuple[str, ...]

    @property
    def same_length(self) -> bool:
        """Whether activations can be exchanged position by position."""
        return len(self.clean) == len(self.corrupted)


def split_pairs(tokenizer: Any, pairs: Sequence[TypedPair]) -> list[SplitPair]:
    """The tokens of each pair, without BOS; also of those that do not fit together."""
    rows = [
        [tuple(pieces(tokenizer, ids)) for ids in texts_ids(tokenizer, [p.clean, p.corrupted])]
        for p in pairs
    ]
    return [SplitPair(clean, corrupted) for clean, corrupted in rows]


def typed_pairs(clean: str, corrupted: str, answer: str, wrong: str = "") -> list[TypedPair]:
    """The pairs of four texts with one line each; ``wrong`` may be empty, or several with |.

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
    rows = list(zip(*columns.values(), strict=True))
    return checked_pairs(
        [TypedPair(row[0], row[1], row[2], _typed_wrong(*row[3:])) for row in rows]
    )


def checked_pairs(pairs: Sequence[TypedPair]) -> list[TypedPair]:
    """The same pairs.

    Raises:
        TaskError: none, too many, or a text that is empty or too long.
    """
    if not 0 < len(pairs) <= MOST_PAIRS:
        raise TaskError(
            f"There are {len(pairs)} pairs: write at least 1; {MOST_PAIRS} are the most."
        )
    for number, pair in enumerate(pairs, 1):
        columns = {
            "clean prompts": (pair.clean,),
            "corrupted prompts": (pair.corrupted,),
            "answers": (pair.answer,),
            "wrong answers": pair.wrong_answers,
        }
        for name, texts in columns.items():
            for text in texts:
                _check_text(text, number, name)
    return list(pairs)


def _check_text(text: str, number: int, column: str) -> None:
    if not text.strip():
        raise TaskError(f"Line {number} of the {column} is empty.")
    if len(text) > MOST_CHARACTERS:
        raise TaskError(
            f"Line {number} of the {column} has {len(text)} characters, and "
            f"{MOST_CHARACTERS} are the most."
        )


def _typed_wrong(line: str = "") -> str | tuple[str, ...]:
    several = tuple(line.split(_BETWEEN))
    return several if len(several) > 1 else line


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
        return [_kept(json.loads(row)) for row in rows]
    except FileNotFoundError:
        raise TaskError(f"No prompts are kept under {path.stem!r}.") from None
    except (OSError, ValueError, TypeError) as error:
        raise TaskError(f"The prompts kept under {path.stem!r} cannot be read.") from error


def _kept(row: dict[str, Any]) -> TypedPair:
    wrong = row.pop("wrong", "")
    return TypedPair(**row, wrong=wrong if isinstance(wrong, str) else tuple(wrong))


def _lines(text: str) -> list[str]:
    """Lines without the empty ones at the end; spaces are kept."""
    return text.replace("\r\n", "\n").rstrip("\n").split("\n") if text.strip() else []
