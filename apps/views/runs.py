"""Runs: find a run, see what it found, compare it with another, copy it, delete it."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.jobs import follow, outcome, under_way
from apps.common.session import owner, store
from apps.common.text import duration, plain
from mechbench.errors import StoreError
from mechbench.experiments.deletion import delete_run
from mechbench.experiments.listing import RunLine, open_exactly, run_lines, visible_to
from mechbench.experiments.saved import saved_figures, saved_results
from mechbench.experiments.spec import ExperimentSpec
from mechbench.experiments.summary import headline, summary_tables
from mechbench.results.comparison import ArrayDifference, array_differences
from mechbench.results.run import Run
from mechbench.results.store import differences

_NONE = "none"


def draw() -> None:
    """The page."""
    st.title("Runs")
    search = state.field(
        "Filter",
        state.Text("filter"),
        help="Words that must all occur in a run's id, title, model, task, state or analyses.",
    )
    lines = run_lines(store(), owner=owner(), search=search)
    _table(lines)
    run = _chosen(lines)
    if run is None:
        return
    other = _other(run, lines)
    if under_way(run.run_id):
        follow(run.run_id)
    else:
        outcome(run.run_id)
    if other is None:
        _show(run)
    else:
        _compare(run, other)
    show_copies(ExperimentSpec.model_validate(run.spec))
    _delete(run)


def _table(lines: list[RunLine]) -> None:
    if not lines:
        st.info(
            f"No run here fits. The folder is {store().root}; a command that makes a run: "
            "mechbench run acronyms"
        )
        return
    st.dataframe(
        [
            {
                "run": line.run_id,
                "title": line.title,
                "model": line.model,
                "task": line.task,
                "seed": line.seed,
                "state": line.state,
                "created": line.created[:19].replace("T", " "),
                "took": duration(line.wall_time_s),
                "device": line.device,
                "weights": line.weights,
                "git": line.git,
            }
            for line in lines
        ],
        hide_index=True,
        height=min(38 * (len(lines) + 1), 260),
    )


def _chosen(lines: list[RunLine]) -> Run | None:
    """The run that the address names, which need not be in the list, or the first one."""
    ids = [line.run_id for line in lines]
    named = st.query_params.get("run")
    if named and named not in ids:
        try:
            ids.insert(0, open_exactly(store(), named).run_id)
        except StoreError as error:
            st.warning(plain(str(error)))
    if not ids:
        return None
    default = ids[0] if named not in ids else named
    _forget_gone("url-run", ids)
    fresh = "url-run" not in st.session_state
    given: dict[str, Any] = {"index": ids.index(default)} if fresh else {}
    chosen = st.selectbox(
        "Run",
        ids,
        key="url-run",
        help="A run is a folder with a spec, its results and its figures.",
        on_change=_keep_run,
        **given,
    )
    return store().open(chosen)


def _other(run: Run, lines: list[RunLine]) -> Run | None:
    options = [_NONE, *(line.run_id for line in lines if line.run_id != run.run_id)]
    _forget_gone("url-compare", options)
    chosen = state.select(
        "Compare with",
        state.Choice("compare", options, _NONE),
        help="Shows what the two specs set differently, and their figures side by side.",
    )
    return None if chosen == _NONE else store().open(chosen)


def _show(run: Run) -> None:
    spec = run.spec
    st.header(plain(spec["title"] or spec["name"]), anchor=False)
    status = run.status()
    facts = {"status": status.state, "model": spec["model"]["name"], "task": spec["task"]["name"]}
    for column, (label, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
        column.metric(label, value)
    results = saved_results(run)
    for line in headline(results):
        st.write(plain(line))
    for table in summary_tables(results):
        st.caption(plain(table.title))
        st.dataframe(
            [dict(zip(table.columns, row, strict=True)) for row in table.rows], hide_index=True
        )
    for step, figure in saved_figures(run).items():
        show_figure(figure, f"{run.run_id}-{step}")
    with st.expander("Spec of this run"):
        st.json(spec)


def _compare(run: Run, other: Run) -> None:
    st.subheader("What differs", anchor=False)
    for line in differences(run.spec, other.spec) or ["Nothing: the specs are equal."]:
        st.write(plain(line.replace("there", run.run_id).replace("given", other.run_id)))
    _differences(run, other)
    figures = {one.run_id: saved_figures(one) for one in (run, other)}
    for step in dict.fromkeys(step for found in figures.values() for step in found):
        for column, one in zip(st.columns(2), (run, other), strict=True):
            with column:
                st.caption(plain(one.run_id))
                if step in figures[one.run_id]:
                    show_figure(figures[one.run_id][step], f"{one.run_id}-{step}")
                else:
                    st.write(plain(f"This run has no figure of {step}."))


def _differences(run: Run, other: Run) -> None:
    """The arrays of steps that both have, subtracted."""
    for step in [step for step in run.steps() if other.has(step)]:
        one, two = run.load_result(step), other.load_result(step)
        if type(one) is not type(two):
            st.write(plain(f"{step}: results of two kinds, which are not compared."))
            continue
        st.caption(plain(f"Arrays of {step}: the one run minus the other"))
        st.dataframe([_difference_row(line) for line in array_differences(one, two)])


def _difference_row(line: ArrayDifference) -> dict[str, Any]:
    known = not line.problem
    return {
        "array": line.name,
        "axes": " ".join(line.dims),
        "same": "yes" if line.equal else "no",
        "largest |difference|": line.largest if known else None,
        "root mean square": line.root_mean_square if known else None,
        "units": line.units,
        "at": line.where,
        "entries": line.n if known else None,
        "only in one": line.n_one_sided if known else None,
        "why not": line.problem,
    }


def _delete(run: Run) -> None:
    if not visible_to(run, owner()):
        return
    with st.expander("Delete this run"):
        sure = st.checkbox(
            "Delete its results and figures for good", key=f"sure-{run.run_id}", value=False
        )
        if st.button("Delete", key=f"delete-{run.run_id}", disabled=not sure):
            delete_run(store(), run.run_id)
            state.write(run=None, compare=None)
            st.rerun()


def _forget_gone(key: str, options: list[str]) -> None:
    """A choice that is no longer offered is forgotten, before its widget is drawn."""
    if st.session_state.get(key) not in (None, *options):
        del st.session_state[key]


def _keep_run() -> None:
    state.write(run=st.session_state["url-run"])


framed(draw)
