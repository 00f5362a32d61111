"""Start: a finished example, what is loaded, what is running, and the latest runs."""

from pathlib import Path

import streamlit as st

from apps.common.catalogue import models
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.jobs import any_jobs, show_jobs
from apps.common.session import owner, pool, store, workers
from apps.common.text import plain, size
from mechbench.experiments.listing import run_lines
from mechbench.experiments.model_pool import LoadedModel
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
    asked, at_work = pool().loaded(), workers().models()
    if not asked and not at_work:
        st.caption(f"None yet; {len(models())} can be chosen by name, and load when first used.")
    for line in asked:
        if _releasing(line, "answers", busy=False):
            pool().release(line)
            st.rerun()
    for line, busy in at_work:
        if _releasing(line, "jobs", busy=busy):
            workers().release(line.device)
            st.rerun()


def _releasing(line: LoadedModel, use: str, *, busy: bool) -> bool:
    """A line with a button; True where it was pressed just now."""
    left, right = st.columns([5, 1])
    about = f"{line.name} on {line.device}, {line.dtype}, {size(line.nbytes)}, for {use}"
    left.write(plain(about + (", at work" if busy else "")))
    return right.button(
        "Release",
        key=f"release-{use}-{line.name}-{line.snapshot}-{line.device}-{line.dtype}-{line.nbytes}",
        disabled=busy,
        help="Gives its memory back. The model loads again when it is used next; one that works "
        "for a job is released after it.",
    )


def _jobs() -> None:
    if any_jobs():
        st.subheader("Jobs", anchor=False)
        show_jobs()


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
            "views/runs.py",
            label=plain(f"{line.title}: {line.model}, {line.task}, {line.state}"),
            query_params={"run": line.run_id},
        )


framed(draw)
