"""Progress of an experiment on the command line."""

from rich.progress import TaskID

from mechbench.cli.console import Bars, say
from mechbench.experiments.observer import Observer


class BarObserver(Observer):
    """A bar with the time left for the step at work, and a line for each one that is done.

    ``worked`` says whether anything had to be run.
    """

    def __init__(self, bars: Bars):
        self._bars = bars
        self._bar: TaskID | None = None
        self._place = ""
        self.worked = False

    def loading(self, model: str) -> None:
        self.worked = True
        say(f"Loading {model} ...")

    def step_started(self, step: str, number: int, of: int) -> None:
        self._place = f"{number}/{of}"
        self._bar = self._bars.add(f"{self._place} {step}")

    def step_advanced(self, step: str, done: int, total: int) -> None:
        assert self._bar is not None
        self._bars.update(self._bar, done, total)

    def step_finished(self, step: str, seconds: float) -> None:
        assert self._bar is not None
        self._bars.remove(self._bar)
        say(f"{self._place} {step}: {seconds:.1f} s")

    def step_kept(self, step: str) -> None:
        say(f"{step}: kept from before")

    def step_left_out(self, step: str, reason: str) -> None:
        say(f"{step}: left out, {reason}")
