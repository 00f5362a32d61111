"""Start: a finished example, what is loaded, what is running, and the latest runs."""

from pathlib import Path

import streamlit as st

from apps.common.catalogue import models
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.jobs import show_progress
from apps.common.session import owner, pool, queue, store
from apps.common.text import plain, size
from mechbench.experiments.listing import run_lines
from mechbench.figures.spec import FigureSpec
from mechbench.resources import bundled
from mechbench.results.files import read_text

_EXAMPLE = "example.figure.json"


def draw() -> None:
    """The page; no model is loaded for it."""
    st.title("mechbench")
    st.write("Which parts of a transformer do what, and how do you know.")
    show_figure(example(str(bundled("apps") / "examples" / _EXAMPLE)), "example")
    _loaded()
    _jobs()
    _latest()


@st.cache_data(show_spinner=False)
def example(path: str) -> FigureSpec:
    """The finished example."""
    return FigureSpec.from_json(read_text(Path(path), "example"))


def _loaded() -> None:
    st.subheader("Loaded models", anchor=False)
    lines = pool().loaded()
    if not lines:
        st.caption(f"None yet; {len(models())} can be chosen by name, and load when first used.")
    for line in lines:
        st.write(plain(f"{line.name} on {line.device}, {line.dtype}, {size(line.nbytes)}"))


def _jobs() -> None:
    mine, others = queue().mine(owner()), queue().n_others(owner())
    if not mine and not others:
        return
    st.subheader("Jobs", anchor=False)
    for job in mine:
        st.write(plain(job.title))
        show_progress(job)
    if others:
        st.caption(f"Jobs of other users, waiting or running: {others}.")


def _latest() -> None:
    st.subheader("Latest runs", anchor=False)
    lines = run_lines(store(), owner=owner())[:5]
    if not lines:
        st.caption(
            "There are none yet. Start a sweep on the page Patching, or in a terminal: "
            "mechbench run acronyms"
        )
    for line in lines:
        st.page_link(
            "pages/runs.py",
            label=plain(f"{line.title}: {line.model}, {line.task}, {line.state}"),
            query_params={"run": line.run_id},
        )


framed(draw)
