"""The model card: the numbers of ``metrics.json`` as a page for a reader."""

from typing import Any

from mechbench.training.kinds import kind_called
from mechbench.training.measured import measured_section


def render_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a model's card; every number comes from ``metrics``."""
    card = kind_called(metrics["recipe"]["corpus"]["kind"]).card(metrics)
    return card + measured_section(metrics.get("measured", []))
