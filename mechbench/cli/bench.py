"""``mechbench bench``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Suite(StrEnum):
    """What can be measured."""

    sweep = "sweep"


def bench(
    suite: Annotated[Suite, typer.Argument(help="What to measure.")] = Suite.sweep,
    out: Annotated[Path, typer.Option(help="JSON file for the numbers.")] = Path("bench.json"),
) -> None:
    """Time the sweep planner against a plain loop and TransformerLens, in one run."""
    raise NotImplementedError
