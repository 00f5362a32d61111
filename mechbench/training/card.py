"""The model card: the numbers of ``metrics.json`` as a page for a reader."""

from typing import Any

from mechbench.training.kinds import kind_called
from mechbench.training.measured import measured_section


def render_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a model's card; every number comes from ``metrics``."""
    recipe = dict(metrics["recipe"])
    notes = recipe.pop("notes", "")
    card = kind_called(recipe["corpus"]["kind"]).card(metrics | {"recipe": recipe})
    said = f"\n## Notes\n\n{notes}\n" if notes else ""
    return card + said + measured_section(metrics.get("measured", []))
