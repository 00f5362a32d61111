"""What a variant's one file exports to the registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class VariantSpec:
    """One architecture.

    Attributes:
        name: as in recipes and on the command line.
        config: the frozen config class.
        build: a randomly initialised model from a config and a model name.
        presets: named configs; the conformance suite runs on ``presets["tiny"]``.
    """

    name: str
    config: type
    build: Callable[..., Any]
    presets: Mapping[str, Any]
