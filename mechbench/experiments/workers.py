"""Processes that carry out the jobs of this one, one for each device, started when first needed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import mechbench
from mechbench.errors import WorkerError
from mechbench.experiments.job import Cancelled, Job
from mechbench.experiments.model_pool import LoadedModel
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import Run

COMMAND = (sys.executable, "-m", "mechbench.experiments.worker")
_LOOK_EVERY_S = 0.1  # for a wish to cancel, while the worker says nothing
_CLOSING_S = 5.0


class Worker:
    """One process; one job at a time. It ends when this object's process does."""

    def __init__(self, command: Sequence[str] = COMMAND):
        found = str(Path(mechbench.__file__).parents[1])
        given = os.environ.get("PYTHONPATH")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([found, *([given] if given else [])]),
        }
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which ends this one in order
        )
        self.models: list[LoadedModel] = []
        self._told: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        """True while the process is."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    def carry_out(self, run: Run, job: Job) -> None:
        """Has ``run`` carried out; ``job`` hears how far it is.

        Raises:
            Cancelled: the job was cancelled; the run can be resumed.
            WorkerError: whatever the model, the task or an analysis raised, in its words; or the
                process is gone. The run is then kept with the status "failed".
        """
        folder = str(run.path)
        asked = not self._order({"run": folder})
        while True:
            if job.cancel.is_set() and not asked:
                asked = True
                self._order({"cancel": folder})
            with suppress(Empty):
                message = self._told.get(timeout=_LOOK_EVERY_S)
                if message is None:
                    raise self._gone(run)
                if "over" in message:
                    return _ended(message)
                self._take(message, job)

    def close(self) -> None:
        """Ends the process; a run that is under way stops after its batch, or is cut off."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _take(self, message: Mapping[str, Any], job: Job) -> None:
        if "models" in message:
            self.models = [LoadedModel(**line) for line in message["models"]]
            return
        heard: dict[str, Callable[..., None]] = {
            "step_started": job.step_started,
            "step_advanced": job.step_advanced,
        }
        with suppress(Cancelled):  # the worker is told so, and says when it has stopped
            heard[message["event"]](*message["args"])

    def _order(self, order: Mapping[str, Any]) -> bool:
        """True where it could be handed over; otherwise the process is gone, as is heard soon."""
        assert self._process.stdin is not None
        try:
            print(json.dumps(order), file=self._process.stdin, flush=True)
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                self._told.put(json.loads(line))
        self._told.put(None)

    def _gone(self, run: Run) -> WorkerError:
        code = self._process.wait()
        self.close()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        error = (
            f"The process that worked on this run {how}; often the machine's memory was full. "
            "What is done is kept: go on with fewer prompts at a time or a smaller model, or just "
            "go on."
        )
        run.set_status("failed", error=error)
        return WorkerError(error)


class Workers:
    """The worker of each device; a new one where the last is gone.

    Args:
        command: starts a worker.
    """

    def __init__(self, command: Sequence[str] = COMMAND):
        self._command, self._lock = command, Lock()
        self._workers: dict[str, Worker] = {}
        self._busy: set[str] = set()

    def carry_out(self, spec: ExperimentSpec, run: Run, job: Job) -> None:
        """Has the run carried out on the job's device; one caller at a time for each device.

        Raises:
            As ``Worker.carry_out``.
        """
        try:
            with self._lock:
                self._busy.add(job.device)
                worker = self._worker(job.device)
            worker.carry_out(run, job)
        finally:
            with self._lock:
                self._busy.discard(job.device)

    def models(self) -> list[tuple[LoadedModel, bool]]:
        """The loaded models, and whether a job works with them."""
        with self._lock:
            return [
                (line, device in self._busy)
                for device, worker in self._workers.items()
                if worker.alive
                for line in worker.models
            ]

    def release(self, device: str) -> bool:
        """Ends the worker of a device, which gives all its memory back; False while it works."""
        with self._lock:
            if device in self._busy:
                return False
            worker = self._workers.pop(device, None)
        if worker is not None:
            worker.close()
        return True

    def close(self) -> None:
        """Ends all workers."""
        with self._lock:
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.close()

    def _worker(self, device: str) -> Worker:
        found = self._workers.get(device)
        if found is None or not found.alive:
            try:
                found = self._workers[device] = Worker(self._command)
            except OSError as error:
                raise WorkerError(f"No process could be started for this job: {error}.") from error
        return found


def _ended(message: Mapping[str, Any]) -> None:
    if message["over"] == "interrupted":
        raise Cancelled
    if message["over"] == "failed":
        raise WorkerError(message["error"])
