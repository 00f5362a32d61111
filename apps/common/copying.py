"""Copy what a page shows: as a Python script, as a command, as a link."""

import streamlit as st

from apps.common.settings import settings
from apps.common.text import plain
from mechbench.experiments.copies import as_command, as_python
from mechbench.experiments.spec import ExperimentSpec


def show_copies(spec: ExperimentSpec) -> None:
    """Both texts, each with a button that copies it; the address is the link."""
    with st.expander(f"Copy as Python or as a command: {plain(spec.title or spec.name)}"):
        st.caption("The script computes the same arrays; the command makes the same run.")
        st.code(as_python(spec), language="python")
        st.code(as_command(spec, settings().store), language="bash")
        st.caption("The address of this page is the link to what it shows.")
