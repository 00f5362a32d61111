"""The process that carries out jobs, so that their work never holds up the one that asks for them.

    python -m mechbench.experiments.worker

It reads one JSON object a line: ``{"run": folder}`` is a run to carry out, ``{"cancel": folder}``
the wish to stop it. It writes one a line: ``{"event": name, "args": []}`` is what its observer
hears, ``{"models": []}`` the loaded models, ``{"over": state, "error": text}`` the end. The model
stays loaded from job to job. It ends when its input does, as when its parent is gone: the run that
is under way then stops after its batch, and can be resumed.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread, Timer
from time import monotonic
from typing import Any, TextIO

from mechbench.errors import MechbenchError
from mechbench.experiments.job import DEFECT, Cancelled
from mechbench.experiments.model_pool import ModelPool
from mechbench.experiments.observer import Observer
from mechbench.experiments.spec import ExperimentSpec
from mechbench.results.run import open_run

_log = logging.getLogger(__name__)
_TELL_EVERY_S = 0.05
_GRACE_S = 20.0  # for the batch that is under way when nobody listens any more

Tell = Callable[[dict[str, Any]], None]


class Orders:
    """What is asked for, read on a thread of its own so that a wish to stop is heard at once."""

    def __init__(self, lines: TextIO):
        self._lines, self._ended = lines, Event()
        self._cancelled: set[str] = set()
        self._runs: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=self._listen, daemon=True).start()

    def runs(self) -> Iterator[str]:
        """The folder of each run that is ordered; ends with the orders."""
        while (folder := self._runs.get()) is not None:
            yield folder

    def stopped(self, folder: str) -> bool:
        """True where this run is to stop, or nobody is there any more to hear of it."""
        return self._ended.is_set() or folder in self._cancelled

    def _listen(self) -> None:
        for line in self._lines:
            order = json.loads(line)
            if "cancel" in order:
                self._cancelled.add(order["cancel"])
            else:
                self._cancelled.discard(order["run"])  # it was stopped before, and now goes on
                self._runs.put(order["run"])
        self._ended.set()
        self._runs.put(None)
        last = Timer(_GRACE_S, os._exit, [1])
        last.daemon = True
        last.start()


class Telling(Observer):
    """Tells what it hears, a few times a second at most; a stopped job ends at its next batch."""

    def __init__(self, tell: Tell, stopped: Callable[[], bool]):
        self._tell, self._stopped, self._told = tell, stopped, 0.0

    def step_started(self, step: str, number: int, of: int) -> None:
        """Told at once."""
        self._go_on()
        self._tell({"event": "step_started", "args": [step, number, of]})
        self._told = 0.0

    def step_advanced(self, step: str, done: int, total: int) -> None:
        """Told where it is news."""
        now = monotonic()
        if now - self._told >= _TELL_EVERY_S or done >= total:
            self._told = now
            self._tell({"event": "step_advanced", "args": [step, done, total]})
        self._go_on()

    def _go_on(self) -> None:
        if self._stopped():
            raise Cancelled


def serve(lines: TextIO, answers: TextIO) -> None:
    """Carries out what is ordered, one run after the other, until the orders end."""

    def tell(message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # nobody listens: the orders end as well, and stop the run
            print(json.dumps(message), file=answers, flush=True)

    orders, pool = Orders(lines), ModelPool(_load, most=1)
    for folder in orders.runs():
        observer = Telling(tell, partial(orders.stopped, folder))
        tell(_outcome(folder, pool, observer, tell))


def _outcome(folder: str, pool: ModelPool, observer: Observer, tell: Tell) -> dict[str, Any]:
    try:
        _carry_out(folder, pool, observer, tell)
    except KeyboardInterrupt:
        return {"over": "interrupted", "error": None}
    except MechbenchError as error:
        return {"over": "failed", "error": str(error)}
    except Exception:
        _log.exception("the run %s failed", folder)
        return {"over": "failed", "error": DEFECT}
    return {"over": "finished", "error": None}


def _carry_out(folder: str, pool: ModelPool, observer: Observer, tell: Tell) -> None:
    from mechbench.experiments.runner import carry_out

    run = open_run(Path(folder))
    run.set_status("running")
    spec = ExperimentSpec.model_validate(run.spec)

    def loaded(part: Any, device: str | None) -> Any:
        with pool.use(part, device) as model:  # this process has no other caller
            tell({"models": [asdict(line) for line in pool.loaded()]})
            return model

    carry_out(spec, run, observer, load=loaded)


def _load(part: Any, device: str | None) -> Any:
    from mechbench.experiments.runner import load_part

    return load_part(part, device)


def main() -> None:
    """Serves the standard streams; what libraries print goes to the log instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
