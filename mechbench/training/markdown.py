"""What the model cards share."""

from collections.abc import Iterable
from typing import Any


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def architecture(model: dict[str, Any], parameters: int) -> str:
    """A sentence on a recipe's model: its variant and whatever else the recipe says of it."""
    named = {
        "n_layers": "layers",
        "n_blocks": "blocks",
        "n_loops": "loops",
        "n_heads": "heads",
        "d_model": "width",
        "n_ctx": "context",
    }
    said = [f"{model[key]} {word}" for key, word in named.items() if key in model]
    return f"Architecture: {model['variant']}, {', '.join(said)}, {parameters:,} parameters."


def minutes(row: dict[str, Any]) -> str:
    """The training time of one seed."""
    return f"{row.get('processor_seconds', row.get('seconds', 0.0)) / 60:.1f}"


def minutes_are(rows: list[dict[str, Any]]) -> str:
    """What ``minutes`` measures; models trained before processor time was kept have wall time."""
    if all("processor_seconds" in row for row in rows):
        return "Minutes: processor time of all threads."
    return "Minutes: wall time, on a machine that was busy with other work too."
