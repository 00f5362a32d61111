"""Controls that write on a circuit: pins, labels and groups, kept in a file the address names."""

from collections.abc import Sequence

import streamlit as st

from apps.common import state
from apps.common.text import plain
from apps.components.graph import told
from apps.parts.circuit_files import keep_notes, named_notes
from mechbench.errors import CircuitError
from mechbench.graphs.annotations import LONGEST_LABEL, Annotations


def picked_param(nodes: Sequence[str]) -> state.Several:
    """The nodes that are chosen for a group."""
    return state.Several("picked", nodes)


def pin_told(key: str) -> None:
    """Pins the node that the graph names, or takes its pin away."""
    node, notes = told(key, "pin"), named_notes()
    if isinstance(node, str):
        others = [other for other in notes.pinned if other != node]
        keep_notes(notes.pin(others if node in notes.pinned else [*notes.pinned, node]))


def pick_told(key: str, nodes: Sequence[str]) -> None:
    """Chooses the node that the graph names for a group, or leaves it out again."""
    node = told(key, "pick")
    if node not in nodes:
        return
    before = state.read(picked_param(nodes))
    after = [n for n in before if n != node] + ([] if node in before else [node])
    state.follow(picked=tuple(after))


def note_controls(notes: Annotations, nodes: Sequence[str], selected: str) -> None:
    """Label the chosen node, group others, take groups away."""
    left, right = st.columns(2)
    with left:
        _label(notes, selected)
        if notes.pinned:
            st.caption(plain(f"Pinned: {', '.join(notes.pinned)}"))
            st.button("Take all pins away", on_click=lambda: keep_notes(named_notes().pin([])))
    with right:
        _group(nodes)
        for group in notes.groups:
            st.button(
                plain(f"Ungroup {group.label} ({len(group.nodes)})"),
                key=f"ungroup-{group.label}",
                on_click=_ungroup,
                args=(group.label,),
            )


def _label(notes: Annotations, selected: str) -> None:
    if not selected:
        st.caption("Click a node to label it; Enter or a double click pins it.")
        return
    with st.form(f"label-{selected}", border=False):
        text = st.text_input(
            plain(f"Label of {selected}"),
            notes.labels.get(selected, ""),
            max_chars=LONGEST_LABEL,
            help="Shown instead of the node's name, here and in the figure; part of the saved "
            "circuit. An empty label is taken away.",
        )
        if st.form_submit_button("Label"):
            keep_notes(notes.label(selected, text))
            st.rerun(scope="fragment")


def _group(nodes: Sequence[str]) -> None:
    chosen = state.several(
        "Nodes of a group",
        picked_param(nodes),
        help="A group is drawn as one node if you like: a supernode, as in attribution graphs "
        "(Ameisen et al. 2025). Shift and click, or Shift and Enter, choose nodes in the graph.",
    )
    with st.form("group", border=False, clear_on_submit=True):
        label = st.text_input("Label of the group", max_chars=LONGEST_LABEL)
        if st.form_submit_button("Group them"):
            try:
                keep_notes(named_notes().group(label, chosen))
            except CircuitError as error:
                st.error(plain(str(error)))
                return
            st.rerun(scope="fragment")


def _ungroup(label: str) -> None:
    keep_notes(named_notes().ungroup(label))
