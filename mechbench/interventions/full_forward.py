"""The general path: whole forward passes with several cells side by side in the batch.

For models that cannot be entered in the middle. Exact, and still batched; nothing is restarted.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property, partial

from torch import Tensor

from mechbench.interventions.plan import Job
from mechbench.interventions.runs import Runs
from mechbench.interventions.slots import Slots, Step, Writer
from mechbench.tasks.metrics import Metric


class FullForward:
    """Runs jobs of one task by full forward passes."""

    def __init__(self, model, runs: Runs, metric: Metric):
        self.model, self.runs, self.metric = model, runs, metric
        self.writer = Writer(runs)
        self.n_prompts = len(runs.pairs)
        n = runs.pairs.n_positions
        self.slots = Slots.consecutive(0, n, self.n_prompts, runs.base_tokens.device)

    def hook_names(self, jobs: Sequence[Job]) -> list[str]:
        """What of the base run these jobs are computed from: nothing."""
        return []

    @cached_property
    def base(self) -> Tensor:
        """The metric of the unpatched run, ``[prompt answer]``."""
        metric = self.metric
        return metric(
            self.model.answer_logits(self.runs.base_tokens, metric.positions, metric.vocab)
        )

    def run(self, jobs: Sequence[Job]) -> Tensor:
        """The metric of some jobs, ``[job prompt answer]``."""
        by_hook: dict[str, list[tuple[int, Step]]] = defaultdict(list)
        for i, job in enumerate(jobs):
            for step in job.steps:
                by_hook[step.hook_name].append((i, step))
        hooks = [
            (name, partial(self.writer.write_rows, steps=steps, slots=self.slots))
            for name, steps in by_hook.items()
        ]
        with self.model.hooks(fwd_hooks=hooks):
            logits = self.model.answer_logits(
                self.runs.base_tokens.repeat(len(jobs), 1),
                self.metric.positions.repeat(len(jobs), 1),
                self.metric.vocab,
            )
        self.writer.forget_values()
        return self.metric(logits.unflatten(0, (len(jobs), self.n_prompts)))
