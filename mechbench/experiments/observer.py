"""Who follows an experiment while it runs."""


class Observer:
    """Hears of each step and ignores it; a command line overrides what it wants to show."""

    def loading(self, model: str) -> None:
        """The model is being loaded."""

    def step_started(self, step: str, number: int, of: int) -> None:
        """Step ``number`` of ``of`` begins."""

    def step_advanced(self, step: str, done: int, total: int) -> None:
        """``done`` of the step's ``total`` patches are done."""

    def step_finished(self, step: str, seconds: float) -> None:
        """The step's result and figure are saved."""

    def step_kept(self, step: str) -> None:
        """The step was done in an earlier run of this folder."""

    def step_left_out(self, step: str, reason: str) -> None:
        """The step does not apply to this model."""
