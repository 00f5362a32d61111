"""The model card: the numbers of ``metrics.json`` as a page for a reader."""

from typing import Any

from mechbench.training.kinds import kind_called
from mechbench.training.measured import measured_section


def render_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a model's card; every number comes from ``metrics``."""
    recipe = metrics["recipe"]
    card = kind_called(recipe["corpus"]["kind"]).card(metrics)
    notes = f"\n## How the recipe was found\n\n{recipe['notes']}\n" if recipe.get("notes") else ""
    return card + notes + measured_section(metrics.get("measured", []))
