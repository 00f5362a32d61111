"""Figure specs as JSON text: dataclasses by class name, arrays with their dtype."""

from dataclasses import fields
from typing import Any, get_args

from mechbench.errors import StoreError
from mechbench.figures import graph
from mechbench.figures import spec as parts
from mechbench.results.codec import dumps, loads

_SCHEMA = 1
_KIND = "kind"
_TYPES = {
    "name": str,
    "title": str,
    "caption": str,
    "columns": int,
    "shared_colour": bool,
    "provenance": dict,
}
_KINDS = {
    cls.__name__: cls
    for cls in (
        parts.Diverging,
        parts.Sequential,
        parts.Series,
        parts.Reference,
        parts.Fit,
        parts.Heatmap,
        parts.Lines,
        parts.Bars,
        parts.BoxSeries,
        parts.Boxes,
        parts.Points,
        parts.Histogram,
        parts.Table,
        graph.Node,
        graph.Edge,
        graph.Graph,
    )
}


def spec_to_json(spec: parts.FigureSpec) -> str:
    """``spec`` as one line of JSON text."""
    content = {f.name: getattr(spec, f.name) for f in fields(spec)}
    content["panels"] = [_plain(panel) for panel in spec.panels]
    return dumps({"schema": _SCHEMA, "figure": content}, indent=None)


def spec_from_json(text: str) -> parts.FigureSpec:
    """The spec in ``text``.

    Raises
        StoreError where the text is damaged, or was written by a newer mechbench.
    """
    try:
        stored = loads(text)
        schema, content = stored["schema"], stored["figure"]
        if schema > _SCHEMA:
            raise StoreError(
                f"This figure has format {schema}, newer than the format {_SCHEMA} that this "
                "mechbench reads: update mechbench."
            )
        content["panels"] = tuple(_rebuilt(panel) for panel in content["panels"])
        _check_types(content)
        return parts.FigureSpec(**content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"The stored figure cannot be read ({type(error).__name__}: {error}): export it again."
        ) from error


def _check_types(content: dict[str, Any]) -> None:
    """Raises TypeError where a part of a figure is of another kind than it should be."""
    for key, kind in _TYPES.items():
        if key in content and type(content[key]) is not kind:
            raise TypeError(f"{key!r} should be {kind.__name__}, not {content[key]!r}")
    for panel in content["panels"]:
        if not isinstance(panel, get_args(parts.Panel)):
            raise TypeError(f"a panel should not be {type(panel).__name__}")


def _plain(value: Any) -> Any:
    if type(value).__name__ in _KINDS:
        content = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {_KIND: type(value).__name__, **content}
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    return value


def _rebuilt(value: Any) -> Any:
    if isinstance(value, dict) and _KIND in value:
        content = {k: _rebuilt(v) for k, v in value.items() if k != _KIND}
        return _KINDS[value[_KIND]](**content)
    if isinstance(value, tuple):
        return tuple(_rebuilt(v) for v in value)
    return value
