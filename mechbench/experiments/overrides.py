"""``--set a.b=c``: change one value of a spec from the command line."""

import copy
from collections.abc import Sequence
from typing import Any

import yaml

from mechbench.errors import SpecError, did_you_mean


def apply_overrides(data: Any, overrides: Sequence[str]) -> Any:
    """A copy of ``data`` with each ``path=value`` set; values are read as YAML.

    A path goes through mappings by key and through lists by index or by the ``id`` (or
    ``analysis``) of an item: ``task.n=32``, ``steps.circuit-search.params.budget=8``.

    Raises:
        SpecError: no ``=``, a value that is no YAML, or a path that leads nowhere.
    """
    data = copy.deepcopy(data)
    for override in overrides:
        path, separator, text = override.partition("=")
        parts = path.strip().split(".")
        if not separator or not all(parts):
            raise SpecError(f"--set {override!r} is not of the form path=value, such as task.n=32.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise SpecError(f"--set {override!r}: the value {text!r} is not valid YAML.") from None
        _set(data, parts, value, override)
    return data


def _set(node: Any, parts: list[str], value: Any, override: str) -> None:
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(node, dict):
            # Keys that the file leaves out may be set; validation rejects those that do not exist.
            if last:
                node[part] = value
            elif node.get(part) is None:
                node[part] = {}
            node = node[part]
        elif isinstance(node, list):
            index = _index(node, part, override)
            if last:
                node[index] = value
            node = node[index]
        else:
            reached = ".".join(parts[:i])
            raise SpecError(
                f"--set {override!r} leads nowhere: {reached!r} is the value {node!r}, "
                f"which has no {part!r} inside."
            )


def _index(items: list[Any], part: str, override: str) -> int:
    if part.isdigit() and int(part) < len(items):
        return int(part)
    names = [_name(item) for item in items]
    if part in names:
        return names.index(part)
    known = [name for name in names if name]
    hint = did_you_mean(part, known) if known else ""
    raise SpecError(
        f"--set {override!r} leads nowhere: {part!r} is neither an id nor an index of "
        f"0..{len(items) - 1}. {hint}".rstrip()
    )


def _name(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    return str(item.get("id") or str(item.get("analysis", "")).replace("_", "-"))
