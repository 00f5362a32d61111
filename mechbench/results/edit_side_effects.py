"""Result of measuring what edits of value vectors do to other tasks and to text."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

OTHER_TASK, METRIC, TASK_ACCURACY, LOSS, PERPLEXITY = (
    "other_task",
    "metric",
    "accuracy",
    "loss",
    "perplexity",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class EditSideEffects(Result):
    """Other tasks and text with value vectors edited in the weights, one edit for everything.

    The edit of each prompt's own right label means nothing on other tasks; so "always B" and so on
    put one label in for all prompts, beside "λ2 = 0", the "mean of later" labels and "no edit".
    ``n_other`` and ``n_texts`` say on how many prompts and texts.

    ``tasks`` (estimate measure edit other_task): "metric" is the task's own (``metrics`` has its
    name and units), "accuracy" the share of answers that are the likeliest token of the whole
    vocabulary. ``task_change`` (estimate measure edit other_task) is that minus no edit, paired.
    ``text`` (estimate measure edit) is the next-token "loss" of ``text_source``, nats per token,
    and "perplexity", its exponential; ``text_change`` (estimate edit) is the change of the loss,
    paired by text. ``restored`` says whether every weight was as before afterwards, bit for bit.
    Intervals are 95 % bootstrap intervals over prompts, or texts.
    """

    neurons: tuple[str, ...]
    lambda1: float
    lambda2: float
    n_other: dict[str, int]
    metrics: dict[str, str]
    tasks: xr.DataArray | None
    task_change: xr.DataArray | None
    text_source: str
    n_texts: int
    text: xr.DataArray
    text_change: xr.DataArray
    restored: bool
