"""One job: what it is about, how far it is, and the wish to stop it."""

from dataclasses import dataclass, field
from threading import Event
from time import monotonic

from mechbench.experiments.observer import Observer
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run, State

DEFECT = "The job met a defect of mechbench; the server's log has details."


class Cancelled(KeyboardInterrupt):
    """Raised inside a cancelled job; like Ctrl-C, it leaves a run that can be resumed."""


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """How far a job is.

    ``n_ahead`` jobs wait or run before it on its device; ``done`` of ``total`` units of step
    number ``number`` of ``of`` are done; ``seconds_left`` is an estimate for that step, None before
    there is anything to judge by.
    """

    run_id: str
    title: str
    state: State
    n_ahead: int
    step: str
    number: int
    of: int
    done: int
    total: int
    seconds_left: float | None
    error: str | None
    cancelling: bool

    @property
    def over(self) -> bool:
        """True once it neither waits nor runs."""
        return self.state not in ("queued", "running")

    @property
    def share(self) -> float:
        """How much of its step is done, from 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0


@dataclass(kw_only=True, eq=False)
class Job(Observer):
    """A run that waits or works; it observes its own steps. Written by the worker's thread."""

    spec: ExperimentSpec
    run: Run
    device: str
    owners: set[str]
    state: State = "queued"
    error: str | None = None
    cancel: Event = field(default_factory=Event)
    step: str = ""
    number: int = 0
    of: int = 0
    done: int = 0
    total: int = 0
    started: float = 0.0
    done_at_start: int = 0

    @property
    def over(self) -> bool:
        """True once it neither waits nor runs."""
        return self.state not in ("queued", "running")

    def begin(self) -> None:
        """The job's turn has come.

        Raises:
            Cancelled: it was cancelled while it waited.
        """
        if self.cancel.is_set():
            self.run.set_status("interrupted")
            raise Cancelled
        self.run.set_status("running")
        self.state = "running"

    def end(self, state: State, error: str | None = None) -> None:
        """The job is over."""
        self.error, self.state = error, state

    def step_started(self, step: str, number: int, of: int) -> None:
        """Step ``number`` of ``of`` begins."""
        self._go_on()
        self.step, self.number, self.of = step, number, of
        self.done = self.total = self.done_at_start = 0
        self.started = monotonic()

    def step_advanced(self, step: str, done: int, total: int) -> None:
        """``done`` of the step's ``total`` patches are done."""
        if self.total == 0:  # what an earlier run had kept took no time now
            self.done_at_start, self.started = done, monotonic()
        self.done, self.total = done, total
        self._go_on()

    def progress(self, n_ahead: int) -> JobProgress:
        """How far the job is now."""
        return JobProgress(
            run_id=self.run.run_id,
            title=self.spec.title or self.spec.name,
            state=self.state,
            n_ahead=n_ahead,
            step=self.step,
            number=self.number,
            of=self.of,
            done=self.done,
            total=self.total,
            seconds_left=self._seconds_left(),
            error=self.error,
            cancelling=self.cancel.is_set() and not self.over,
        )

    def _seconds_left(self) -> float | None:
        new = self.done - self.done_at_start
        if self.state != "running" or new <= 0:
            return None
        return (monotonic() - self.started) / new * (self.total - self.done)

    def _go_on(self) -> None:
        if self.cancel.is_set():
            raise Cancelled
