"""What people write on a circuit: pinned nodes, labels of nodes, and named groups of nodes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mechbench.errors import CircuitError

LONGEST_LABEL, MOST_ENTRIES = 80, 2000


@dataclass(frozen=True)
class Group:
    """Nodes that are read as one, such as all letter movers (a supernode)."""

    label: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Annotations:
    """Notes on a circuit; they change nothing that is measured.

    Attributes:
        pinned: nodes that stay in view.
        labels: node to what it is called instead of its name.
        groups: a node belongs to at most one, and labels of groups differ.
    """

    pinned: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    @property
    def roles(self) -> dict[str, str]:
        """Node to the label of its group."""
        return {node: group.label for group in self.groups for node in group.nodes}

    def pin(self, nodes: Sequence[str]) -> "Annotations":
        """With exactly these nodes pinned."""
        return replace(self, pinned=tuple(dict.fromkeys(nodes)))

    def label(self, node: str, text: str) -> "Annotations":
        """With another label of a node; an empty one takes it away.

        Raises:
            CircuitError: a label that is too long.
        """
        others = {name: found for name, found in self.labels.items() if name != node}
        shown = _label(text, f"The label of {node}") if text.strip() else ""
        return replace(self, labels={**others, node: shown} if shown else others)

    def group(self, label: str, nodes: Iterable[str]) -> "Annotations":
        """With a group of these nodes, which leave the groups that they were in.

        Raises:
            CircuitError: no nodes, or a label that is empty, too long or taken.
        """
        members = tuple(dict.fromkeys(nodes))
        name = _label(label, "The label of a group")
        if not members:
            raise CircuitError(f"The group {name!r} has no nodes: choose some first.")
        left = [Group(g.label, tuple(n for n in g.nodes if n not in members)) for g in self.groups]
        others = tuple(group for group in left if group.nodes)
        if name in (group.label for group in others):
            raise CircuitError(f"There is a group {name!r} already: give another label.")
        return replace(self, groups=(*others, Group(name, members)))

    def ungroup(self, label: str) -> "Annotations":
        """Without the group of that label."""
        return replace(self, groups=tuple(g for g in self.groups if g.label != label))


def annotations_from(data: Any, name: str) -> Annotations:
    """The annotations of JSON data; ``name`` of the file is for messages.

    Raises:
        CircuitError: what is unknown, of another type, too long or too many.
    """
    if not isinstance(data, dict) or not set(data) <= {"pinned", "labels", "groups"}:
        raise CircuitError(
            f"The annotations of {name!r} must be an object of 'pinned', 'labels' and 'groups'."
        )
    pinned, labels, groups = (
        data.get("pinned", []), data.get("labels", {}), data.get("groups", [])
    )  # fmt: skip
    if not isinstance(labels, dict) or not isinstance(groups, list):
        raise CircuitError(f"In {name!r}, 'labels' must be an object and 'groups' a list.")
    found = Annotations().pin(_names(pinned, f"'pinned' of {name!r}"))
    if len(labels) + len(groups) > MOST_ENTRIES:
        raise CircuitError(f"{name!r} has more than {MOST_ENTRIES} labels and groups.")
    for node, text in labels.items():
        found = found.label(node, _label(text, f"The label of {node!r} in {name!r}"))
    for entry in groups:
        if not isinstance(entry, dict) or set(entry) != {"label", "nodes"}:
            raise CircuitError(f"Each of the 'groups' of {name!r} needs 'label' and 'nodes'.")
        nodes = _names(entry["nodes"], f"the nodes of a group of {name!r}")
        found = found.group(_label(entry["label"], f"The label of a group of {name!r}"), nodes)
    return found


def _names(given: Any, what: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise CircuitError(f"Expected a list of nodes' names for {what}.")
    if len(given) > MOST_ENTRIES:
        raise CircuitError(f"There are {len(given)} names for {what}: {MOST_ENTRIES} are the most.")
    return given


def _label(text: Any, what: str) -> str:
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_LABEL:
        raise CircuitError(f"{what} must be text of 1 to {LONGEST_LABEL} characters.")
    return text.strip()
