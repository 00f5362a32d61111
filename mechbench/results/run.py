"""One run folder: its spec, status, results, partial data and log."""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from mechbench.errors import StoreError, did_you_mean
from mechbench.results.base import Result
from mechbench.results.codec import decode, dumps
from mechbench.results.environment import utc_now
from mechbench.results.files import make_folder, read_text, store_error, write_atomically
from mechbench.results.io import RESULT_FILE, load_result, save_result

T = TypeVar("T")
State = Literal["queued", "running", "finished", "failed", "interrupted"]
STATES: tuple[State, ...] = ("queued", "running", "finished", "failed", "interrupted")
_SCHEMA = 1
_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SPEC, _STATUS, _LOG = "spec.json", "status.json", "log.txt"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A finished step: when it ended (ISO 8601, UTC) and how many seconds it took."""

    name: str
    finished: str
    wall_time_s: float


@dataclass(frozen=True, kw_only=True)
class Status:
    """What became of a run so far. ``pid`` is the process that ran it last."""

    state: State
    created: str
    updated: str
    pid: int
    steps: tuple[Step, ...] = ()
    error: str | None = None

    @property
    def wall_time_s(self) -> float:
        """Seconds that the finished steps took together."""
        return sum(step.wall_time_s for step in self.steps)


@dataclass(frozen=True)
class Run:
    """One run folder. Get one from ``RunStore``."""

    path: Path
    spec: dict[str, Any] = field(repr=False)
    spec_hash: str

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def figures(self) -> Path:
        """The folder for exported figures."""
        return self.path / "figures"

    def step_path(self, step: str) -> Path:
        """The folder of the result of ``step``.

        Raises
            StoreError for a name that is not a plain file name.
        """
        return self.path / "results" / _checked_step(step)

    def checkpoint_path(self, step: str) -> Path:
        """The path, in an existing folder, for partial data of ``step``; the caller adds a suffix.

        Files that start with it are removed when the step's result is saved.
        """
        return make_folder(self.path / "partial") / _checked_step(step)

    def has(self, step: str) -> bool:
        """True where the result of ``step`` was saved whole."""
        return (self.step_path(step) / RESULT_FILE).is_file()

    def steps(self) -> list[str]:
        """The steps that have a result, in the order in which they were first saved."""
        finished = [s.name for s in self.status().steps]
        return [name for name in finished if self.has(name)]

    def save_result(self, step: str, result: Result) -> Path:
        """The folder, after ``result`` was saved as ``step`` and its partial data removed.

        Raises
            StoreError where it cannot be written; results saved before are unchanged.
        """
        folder = save_result(result, self.step_path(step))
        done = Step(name=step, finished=utc_now(), wall_time_s=result.provenance.wall_time_s)
        status = self.status()
        kept = {s.name: s for s in status.steps} | {step: done}
        self._write_status(replace(status, steps=tuple(kept.values())))
        for partial in (self.path / "partial").glob(f"{step}*"):
            # A longer step name may share the start: only "step" and "step.suffix" are ours.
            if partial.name == step or partial.name.startswith(f"{step}."):
                with suppress(OSError):
                    partial.unlink()
        return folder

    def load_result(self, step: str) -> Result:
        """The result of ``step``.

        Raises
            StoreError where there is none (naming those there are), or it is damaged.
        """
        if not self.has(step):
            raise StoreError(
                f"The run {self.run_id} has no result {step!r}. "
                + (did_you_mean(step, self.steps()) if self.steps() else "It has none yet.")
            )
        return load_result(self.step_path(step))

    def status(self) -> Status:
        """What became of the run so far.

        Raises
            StoreError where the status file is missing or damaged.
        """
        path = self.path / _STATUS
        return _parsed(path, read_text(path, "run status"), _status_from)

    def set_status(self, state: State, *, error: str | None = None) -> None:
        """Records ``state``, this process and, for a failed run, the error's message."""
        assert state in STATES, state
        self._write_status(replace(self.status(), state=state, error=error, pid=os.getpid()))

    def log(self, line: str) -> None:
        """Adds ``line`` with the time to the run's log.

        Raises
            StoreError where it cannot be written.
        """
        path = self.path / _LOG
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{utc_now()} {line.rstrip()}\n")
        except OSError as error:
            raise store_error("write", path, error) from error

    def _write_status(self, status: Status) -> None:
        content = {**vars(status), "updated": utc_now(), "steps": [vars(s) for s in status.steps]}
        write_atomically(self.path / _STATUS, dumps({"schema": _SCHEMA, **content}))


def start_run(path: Path, spec: Mapping[str, Any], spec_hash: str) -> Run:
    """The run in the existing empty folder ``path``, with its spec and the state "running".

    Raises
        StoreError where the files cannot be written.
    """
    run = Run(path, dict(spec), spec_hash)
    content = {"schema": _SCHEMA, "spec_hash": spec_hash, "spec": run.spec}
    write_atomically(path / _SPEC, dumps(content))
    now = utc_now()
    run._write_status(Status(state="running", created=now, updated=now, pid=os.getpid()))
    return run


def open_run(path: Path) -> Run:
    """The run in the folder ``path``.

    Raises
        StoreError where there is none, or its files are damaged or newer than this mechbench.
    """
    return _parsed(
        path / _SPEC,
        read_text(path / _SPEC, "run"),
        lambda data: Run(path, dict(data["spec"]), str(data["spec_hash"])),
    )


def _parsed(path: Path, text: str, build: Callable[[dict[str, Any]], T]) -> T:
    try:
        data = decode(json.loads(text))
        if data["schema"] > _SCHEMA:
            raise StoreError(
                f"{str(path)!r} has format {data['schema']}, newer than the format {_SCHEMA} that "
                "this mechbench reads: update mechbench."
            )
        return build(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}): start the run again in "
            "another folder; its results can still be copied."
        ) from error


def _status_from(data: dict[str, Any]) -> Status:
    if data["state"] not in STATES:
        raise ValueError(f"unknown state {data['state']!r}")
    content = {k: v for k, v in data.items() if k not in ("schema", "steps")}
    return Status(**content, steps=tuple(Step(**s) for s in data["steps"]))


def _checked_step(step: str) -> str:
    if not _STEP.fullmatch(step):
        raise StoreError(
            f"{step!r} cannot name a step of a run: use letters, digits, '_', '-' and '.'."
        )
    return step
