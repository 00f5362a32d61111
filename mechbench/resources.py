"""Where the files that ship with mechbench are: beside the package, or in it in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(kind: str) -> Path:
    """The folder ``data``, ``circuits`` or ``apps`` that ships with this installation."""
    assert kind in ("data", "circuits", "apps"), kind
    installed = _PACKAGE / "_bundled" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind
