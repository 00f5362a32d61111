"""What the configs of several architectures ask of their numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

from mechbench.errors import SpecError


def require_positive(config: Any, names: Sequence[str]) -> None:
    """Raises SpecError where one of these numbers of a config is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise SpecError(f"{name} = {getattr(config, name)}, which must be at least 1.")


def require_choice(config: Any, name: str, known: Iterable[str]) -> None:
    """Raises SpecError where a config's ``name`` is none of the known choices."""
    given = getattr(config, name)
    if given not in known:
        raise SpecError(f"{name} = {given!r} is not known: use {', '.join(known)}.")


def require_equal_heads(config: Any) -> None:
    """Raises SpecError where the heads do not share ``d_model`` equally."""
    if config.d_model % config.n_heads:
        raise SpecError(
            f"d_model = {config.d_model} is not a multiple of n_heads = {config.n_heads}."
        )
