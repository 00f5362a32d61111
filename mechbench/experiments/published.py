"""What papers report about a circuit, kept apart from what is measured here."""

from collections.abc import Mapping
from dataclasses import dataclass

from mechbench.experiments.tables import TextTable
from mechbench.results.base import Result


@dataclass(frozen=True)
class Published:
    """Paragraphs and tables of published numbers, and what nobody has tested."""

    text: tuple[str, ...]
    tables: tuple[TextTable, ...]
    untested: tuple[str, ...]


def published_section(model: str, results: Mapping[str, Result]) -> Published:
    """The published circuit of the task, side by side with ``results`` where the model is its own."""
    return Published((), (), ())
