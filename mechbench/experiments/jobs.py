"""Runs that wait and are worked on in the background, one at a time on each device.

A job is a run of the store: its id names it, its folder keeps what is finished, and a job that was
cancelled, or whose process ended, goes on there when it is submitted again.
"""

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread

from mechbench.errors import MechbenchError, StoreError
from mechbench.experiments.claims import FINISHED, claim_run
from mechbench.experiments.job import DEFECT, Cancelled, Job, JobProgress
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run
from mechbench.results.store import RunStore

_log = logging.getLogger(__name__)

Work = Callable[[ExperimentSpec, Run, Job], None]


class JobQueue:
    """One thread for each device, which has one run after the other worked on.

    Args:
        store: where the runs are.
        work: does what a run lacks, as ``Workers.carry_out``; called on the device's thread.
        most: jobs of one owner that may wait or work at a time.
    """

    def __init__(self, store: RunStore, work: Work, *, most: int = 4):
        self.store, self._work, self._most = store, work, most
        self._lock = Lock()
        self._waiting: dict[str, SimpleQueue[Job]] = {}
        self._jobs: dict[str, Job] = {}

    def submit(self, spec: ExperimentSpec, *, owner: str, device: str) -> Run:
        """The run of ``spec``: finished, or waiting for its turn on ``device``.

        An equal spec that is waiting or running already is joined, and not run twice.

        Raises:
            MechbenchError: the owner has as many jobs as one may have.
            StoreError: another process works on this run, or the folder cannot be written.
        """
        with self._lock:
            live = [job for job in self._jobs.values() if not job.over]
            joined = [job for job in live if job.spec.digest() == spec.digest()]
            if joined:
                joined[0].owners.add(owner)
                return joined[0].run
            if sum(owner in job.owners for job in live) >= self._most:
                raise MechbenchError(
                    f"You have {self._most} jobs waiting or running, which is the most for one "
                    "user: wait for one, or cancel one."
                )
            run = claim_run(spec, self.store, resume=True, force=False)
            if run.status().state == FINISHED:
                return run
            run.set_status("queued")
            job = Job(spec=spec, run=run, device=device, owners={owner})
            self._jobs[run.run_id] = job
            if device not in self._waiting:
                self._waiting[device] = SimpleQueue()
                Thread(target=self._serve, args=(device,), daemon=True).start()
            self._waiting[device].put(job)
        return run

    def progress(self, run_id: str) -> JobProgress | None:
        """How far a job of this process is; None where it has none of that id."""
        with self._lock:
            job = self._jobs.get(run_id)
            ahead = 0 if job is None else self._ahead(job)
        return None if job is None else job.progress(ahead)

    def mine(self, owner: str) -> list[JobProgress]:
        """The jobs of one owner that wait or run, in order."""
        with self._lock:
            live = [(job, self._ahead(job)) for job in self._jobs.values() if not job.over]
        return [job.progress(ahead) for job, ahead in live if owner in job.owners]

    def n_others(self, owner: str) -> int:
        """How many jobs of other owners wait or run; nothing else is told about them."""
        with self._lock:
            return sum(not job.over and owner not in job.owners for job in self._jobs.values())

    def cancel(self, run_id: str, *, owner: str) -> None:
        """Ask a job to stop; it does within one batch, and keeps what is finished.

        A job that several users wait for goes on for the others.

        Raises:
            MechbenchError: no such job, or one that is not this owner's.
        """
        with self._lock:
            job = self._jobs.get(run_id)
            if job is None or job.over or owner not in job.owners:
                raise MechbenchError(f"You have no job {run_id!r} that waits or runs.")
            job.owners.discard(owner)
            if not job.owners:
                job.cancel.set()

    def _ahead(self, job: Job) -> int:
        before = list(self._jobs.values())[: list(self._jobs).index(job.run.run_id)]
        return sum(not other.over and other.device == job.device for other in before)

    def _serve(self, device: str) -> None:
        waiting = self._waiting[device]
        while True:
            self._carry_out(waiting.get())

    def _carry_out(self, job: Job) -> None:
        try:
            job.begin()
            self._work(job.spec, job.run, job)
            job.end("finished")
        except Cancelled:
            job.end("interrupted")
        except MechbenchError as error:
            _failed(job, str(error))
        except Exception:
            _log.exception("the job %s failed", job.run.run_id)
            _failed(job, DEFECT)


def _failed(job: Job, error: str) -> None:
    """The job is over, and its run does not stay "running" where the work did not say so."""
    try:
        if job.run.status().state != "failed":
            job.run.set_status("failed", error=error)
    except StoreError:  # the folder was removed, or cannot be written: the job says what failed
        _log.exception("the run %s cannot be marked as failed", job.run.run_id)
    job.end("failed", error)
