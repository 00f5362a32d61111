"""Attention heads as users write them ("9.9", "L9H9", [9, 9]) and as code needs them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from mechbench.errors import UnsupportedHookError

Head: TypeAlias = tuple[int, int]  # layer, head

_WRITTEN = re.compile(r"\s*(?:L?(\d+)\s*[.H]\s*(\d+))\s*", re.IGNORECASE)


def parse_heads(heads: Iterable[Any], model) -> tuple[Head, ...]:
    """The heads, in order, as (layer, head) pairs that this model has.

    Raises:
        UnsupportedHookError: a head that cannot be read, is outside the model, or is named twice.
    """
    cfg = model.cfg
    parsed = tuple(_parse(head) for head in heads)
    outside = [
        head_label(h) for h in parsed if not (0 <= h[0] < cfg.n_layers and 0 <= h[1] < cfg.n_heads)
    ]
    if outside:
        raise UnsupportedHookError(
            f"{cfg.model_name!r} has no head {', '.join(outside)}: its layers are "
            f"0..{cfg.n_layers - 1} and its heads 0..{cfg.n_heads - 1}, written layer.head."
        )
    twice = sorted({head_label(h) for h in parsed if parsed.count(h) > 1})
    if twice:
        raise UnsupportedHookError(f"Named twice: {', '.join(twice)}. Name each head once.")
    return parsed


def some_heads(heads: Iterable[Any], model) -> tuple[Head, ...]:
    """Like ``parse_heads``; no head at all is an error too."""
    parsed = parse_heads(heads, model)
    if not parsed:
        raise UnsupportedHookError("No heads were given: name at least one, such as '9.9'.")
    return parsed


def all_heads(model) -> tuple[Head, ...]:
    """Every head of the model, layer by layer."""
    return tuple((l, h) for l in range(model.cfg.n_layers) for h in range(model.cfg.n_heads))


def head_label(head: Head) -> str:
    """``"9.9"``."""
    return f"{head[0]}.{head[1]}"


def head_labels(heads: Sequence[Head]) -> list[str]:
    return [head_label(head) for head in heads]


def _parse(head: Any) -> Head:
    if isinstance(head, str) and (match := _WRITTEN.fullmatch(head)):
        return int(match[1]), int(match[2])
    if isinstance(head, list | tuple) and len(head) == 2 and all(type(i) is int for i in head):
        return head[0], head[1]
    hint = " A bare number loses its last zero (8.10 is 8.1)." if isinstance(head, float) else ""
    raise UnsupportedHookError(
        f"{head!r} is not a head.{hint} Write it as text, '8.10' or 'L8H10', or as [8, 10]."
    )
