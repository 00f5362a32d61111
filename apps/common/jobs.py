"""A job on a page: where it is in the queue, how far it is, and a button that cancels it."""

import streamlit as st

from apps.common.session import owner, queue, store
from apps.common.text import duration, plain
from mechbench.experiments.device_name import device_name
from mechbench.experiments.job import JobProgress
from mechbench.experiments.listing import add_owner
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run


def start(spec: ExperimentSpec) -> Run:
    """The run of ``spec``, waiting for its turn, or finished long ago."""
    from mechbench.experiments.runner import check_spec

    check_spec(spec)
    run = queue().submit(spec, owner=owner(), device=device_name(spec.device))
    add_owner(run, owner())
    return run


def under_way(run_id: str) -> bool:
    """True while a job of this process waits or runs."""
    progress = queue().progress(run_id)
    return progress is not None and not progress.over


@st.fragment(run_every=0.5)
def follow(run_id: str) -> None:
    """The job's progress, told anew twice a second; the page is drawn again when it is over."""
    progress = queue().progress(run_id)
    if progress is None or progress.over:
        st.rerun()
        return
    show_progress(progress)
    mine = [job.run_id for job in queue().mine(owner())]
    if run_id in mine and st.button("Cancel", key=f"cancel-{run_id}", disabled=progress.cancelling):
        queue().cancel(run_id, owner=owner())


@st.fragment(run_every=1.0)
def show_jobs() -> None:
    """This user's jobs, each with its progress, a link and a button that cancels it."""
    mine, others = queue().mine(owner()), queue().n_others(owner())
    if not mine and not others:
        st.rerun()
    for job in mine:
        left, right = st.columns([5, 1])
        with left:
            st.page_link("views/runs.py", label=plain(job.title), query_params={"run": job.run_id})
            show_progress(job)
        with right:
            if st.button("Cancel", key=f"cancel-{job.run_id}", disabled=job.cancelling):
                queue().cancel(job.run_id, owner=owner())
    if others:
        st.caption(f"Jobs of other users, waiting or running: {others}.")


def any_jobs() -> bool:
    """True while jobs of anybody wait or run."""
    return bool(queue().mine(owner()) or queue().n_others(owner()))


def show_progress(progress: JobProgress) -> None:
    """One line and a bar."""
    if progress.cancelling:
        st.progress(_share(progress), text="Stopping after this batch; what is done is kept.")
    elif progress.state == "queued":
        st.progress(0.0, text=f"Waiting: {progress.n_ahead} jobs come first on this device.")
    elif not progress.step:
        st.progress(0.0, text="Loading the model.")
    else:
        left = progress.seconds_left
        st.progress(
            _share(progress),
            text=f"{plain(progress.step)} (step {progress.number} of {progress.of}): "
            f"{progress.done} of {progress.total}"
            + ("" if left is None else f", about {duration(left)} left"),
        )


def outcome(run_id: str) -> None:
    """A word about a run that did not finish, and a button that goes on with it."""
    run = store().open(run_id)
    status = run.status()
    if status.state == "finished":
        return
    progress = queue().progress(run_id)
    error = progress.error if progress else status.error
    if status.state == "failed":
        st.error(plain(error or "The job failed."))
    else:
        st.info("This run is not finished. What is done is kept, and it can go on from there.")
    if st.button("Go on", key=f"resume-{run_id}"):
        start(ExperimentSpec.model_validate(run.spec))
        st.rerun()


def _share(progress: JobProgress) -> float:
    return progress.share
