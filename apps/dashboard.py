"""The dashboard: browse the runs of a folder. It loads and draws; it computes nothing.

Started by ``mechbench dashboard``, which sets the folder in ``MECHBENCH_STORE``.
"""

import os
from functools import partial
from pathlib import Path

import streamlit as st

from mechbench.errors import MechbenchError
from mechbench.experiments.saved import saved_figures
from mechbench.figures.export import paper_bytes
from mechbench.figures.presets import PRESETS
from mechbench.figures.render_plotly import to_plotly
from mechbench.figures.spec import FigureSpec
from mechbench.results.run import Run, open_run
from mechbench.results.store import RunStore


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="mechbench", layout="wide")
    store = RunStore(Path(os.environ.get("MECHBENCH_STORE", "runs")))
    st.sidebar.title("mechbench")
    runs = store.list()
    if not runs:
        st.info(f"There are no runs in {store.root}. Make one with: mechbench run acronyms")
        return
    by_name = {run.run_id: run.path for run in runs}
    name = st.sidebar.selectbox("Run", list(by_name), key="run", bind="query-params")
    preset = st.sidebar.radio("Width of downloads", list(PRESETS), horizontal=True)
    show_run(open_run(by_name[name]), preset)


def show_run(run: Run, preset: str) -> None:
    """One run: its status, its figures with captions and downloads, where it came from."""
    spec = run.spec
    st.header(spec["title"] or spec["name"])
    status = run.status()
    facts = {"status": status.state, "model": spec["model"]["name"], "task": spec["task"]["name"]}
    for column, (label, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
        column.metric(label, value)
    if status.error:
        st.warning(status.error)
    for figure in saved_figures(run).values():
        show_figure(run, figure, preset)
    with st.expander("Spec of this run"):
        st.json(spec)


def show_figure(run: Run, figure: FigureSpec, preset: str) -> None:
    """One figure, interactive, with its caption, its downloads and its provenance."""
    st.subheader(figure.title, anchor=figure.name)
    st.plotly_chart(to_plotly(figure), theme=None, key=f"{run.run_id}-{figure.name}")
    st.caption(figure.caption)
    columns = st.columns([1, 1, 6])
    for column, kind in zip(columns, ("pdf", "svg"), strict=False):
        column.download_button(
            kind.upper(),
            data=partial(paper_bytes, figure, kind, preset=preset),
            file_name=f"{figure.name}.{kind}",
            on_click="ignore",
            key=f"{run.run_id}-{figure.name}-{kind}",
        )
    with st.expander("Where this figure comes from"):
        st.json(figure.provenance)


try:
    main()
except MechbenchError as error:
    st.error(str(error))
