"""The lists of ``mechbench models`` as tables for a terminal of 100 columns."""

from collections.abc import Sequence
from typing import Any

from mechbench.experiments.tables import TextTable


def architecture_table(entries: Sequence[dict[str, Any]]) -> TextTable:
    """A row for each architecture."""
    rows = (
        (
            entry["name"],
            entry["title"],
            entry["paper"],
            ", ".join(entry["inspections"]) or "–",
            entry["incremental"],
        )
        for entry in entries
    )
    return TextTable(
        ("name", "architecture", "paper", "analyses of its own", "incremental"),
        tuple(rows),
        title="Architectures",
        note="Incremental: generation goes on from what is remembered, and equals the full run.",
    )


def model_table(entries: Sequence[dict[str, Any]]) -> TextTable:
    """A row for each bundled model: what it is and what it takes."""
    rows = (
        (
            entry["name"],
            entry["architecture"],
            f"{entry['parameters']:,}",
            f"{entry['bytes'] / 1e6:.2f}",
            entry["control"] or "none",
            ", ".join(map(str, entry["snapshots"])) or "none",
        )
        for entry in entries
    )
    return TextTable(
        ("name", "architecture", "parameters", "MB", "control", "snapshots"),
        tuple(rows),
        title="Bundled models",
    )


def accuracy_tables(entries: Sequence[dict[str, Any]]) -> list[TextTable]:
    """A table for each set of tasks, with a row for each bundled model that was scored on some.

    Where a model's tasks are among another's, it stands in the larger table.
    """
    sets: list[list[str]] = []
    for tasks in sorted((list(entry["tasks"]) for entry in entries), key=len, reverse=True):
        if tasks and not any(set(tasks) <= set(larger) for larger in sets):
            sets.append(tasks)
    return [
        TextTable(
            ("name", *tasks),
            tuple(
                (entry["name"], *(_score(entry["tasks"].get(task)) for task in tasks))
                for entry in entries
                if entry["tasks"] and set(entry["tasks"]) <= set(tasks)
            ),
            title="Accuracy on held-out prompts, in %",
            note=_NOTE if tasks is sets[-1] else "",
        )
        for tasks in sets
    ]


_NOTE = (
    "Behind it, where there is a control: the difference from the control, in points. "
    "Measured when the model was made; the card has prompts, losses and baselines."
)


def _score(score: dict[str, Any] | None) -> str:
    if score is None:
        return "–"
    accuracy, control = 100 * score["accuracy"], score["control"]
    return f"{accuracy:.1f}" + ("" if control is None else f" {accuracy - 100 * control:+.1f}")
