"""What analyses found in a model, for its card: read from a file, checked, shown as a table."""

import json
import math
from pathlib import Path
from typing import Any

from mechbench.errors import StoreError
from mechbench.training.markdown import table

KEYS = ("what", "value", "low", "high", "n", "command")


def read_measured(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list of ``{what, value, low, high, n, command}``.

    ``low`` and ``high`` are null where the analysis gives no interval.

    Raises:
        StoreError: no such file, no such list, a row with other keys or without numbers; every
            problem is listed.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(rows, list):
        raise StoreError(f"{path} must hold a JSON list of rows with the keys {', '.join(KEYS)}.")
    problems = [f"row {i}: {p}" for i, row in enumerate(rows, start=1) for p in _problems(row)]
    if problems:
        raise StoreError(f"{path} does not hold measured numbers: {'; '.join(problems)}.")
    return rows


def measured_section(rows: list[dict[str, Any]]) -> str:
    """The section of a card; empty where nothing was measured."""
    if not rows:
        return ""
    parts = [
        "## Measured with the analyses",
        "Measured here, each by the command beside it. The interval is the one that the analysis "
        "reports; n is the number of prompts.",
        table(
            ("what", "value", "interval", "n", "command"),
            (
                (
                    row["what"],
                    f"{row['value']:.3g}",
                    _interval(row),
                    row["n"],
                    f"`{row['command']}`",
                )
                for row in rows
            ),
        ),
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def _problems(row: Any) -> list[str]:
    if not isinstance(row, dict) or set(row) != set(KEYS):
        return [f"its keys must be {', '.join(KEYS)}, and are {[*row]}"]
    found = [
        f"{key} must be text without |" for key in ("what", "command") if not _is_text(row[key])
    ]
    if not _is_number(row["value"]):
        found.append("value must be a number")
    if not isinstance(row["n"], int):
        found.append("n must be a whole number")
    if (row["low"] is None) != (row["high"] is None):
        found.append("low and high must both be numbers or both null")
    found += [
        f"{key} must be a number or null"
        for key in ("low", "high")
        if row[key] is not None and not _is_number(row[key])
    ]
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "|" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _interval(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f"{row['low']:.3g} to {row['high']:.3g}"
