"""A patch is a site and a source; a cell is the set of patches that one forward pass carries."""

from dataclasses import dataclass
from typing import TypeAlias

from mechbench.interventions.sites import Site
from mechbench.interventions.sources import FromRun, Source


@dataclass(frozen=True)
class Patch:
    """Write ``source`` at ``site``. By default the corrupted run's activation (noising)."""

    site: Site
    source: Source = FromRun("corrupt")


Cell: TypeAlias = tuple[Patch, ...]
