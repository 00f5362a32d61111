"""What ships with mechbench: files (beside the package, or in it in a wheel), planted circuits."""

from importlib import import_module
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def bundled(kind: str) -> Path:
    """The folder ``data``, ``circuits`` or ``apps`` that ships with this installation."""
    assert kind in ("data", "circuits", "apps"), kind
    installed = _PACKAGE / "_bundled" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


PLANTED = (
    "planted-even-gate",
    "planted-induction",
    "planted-letter-mover",
    "planted-memory",
    "planted-two-hop",
)
"""Planted circuits that models and tasks are built from by name."""


def planted(name: str, **options: Any) -> Any:
    """The planted circuit of that name; see ``mechbench.planted``.

    Looked up when asked for, because planted circuits are made of models and tasks, which offer
    them by name.
    """
    return import_module("mechbench.planted.registry").PLANTED[name](**options)
