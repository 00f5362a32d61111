"""Answers by right option: counts, and shares with intervals."""

from collections.abc import Mapping, Sequence

import xarray as xr

from mechbench.analyses.common.choices import OTHER, Answers, rate, shares
from mechbench.results.choices import ANSWERED, ARGMAX, EDIT, GOLD, OTHER_TOKEN
from mechbench.shapes import PROMPT
from mechbench.tasks.choice_task import ChoiceTask


def confusion_shares(
    answers: Mapping[str, Sequence[Answers]], task: ChoiceTask, *, seed: int
) -> xr.DataArray:
    """Shares of answers among prompts with each right option; means over several answers (draws).

    Axes (estimate edit argmax gold answered); rows sum to 1, and are NaN where no prompt has that
    right option.
    """
    hits = _hits(answers, task)
    rows = [rate(hits, task.gold == g, seed=seed) for g in range(len(task.labels))]
    found = xr.concat(rows, dim=GOLD).assign_coords({GOLD: list(task.labels)})
    return shares(
        found.transpose("estimate", EDIT, ARGMAX, GOLD, ANSWERED), "answers by right option"
    )


def confusion_counts(answers: Mapping[str, Sequence[Answers]], task: ChoiceTask) -> xr.DataArray:
    """Prompts by right option and answer, axes (edit argmax gold answered); means over draws."""
    hits = _hits(answers, task)
    gold = task.gold.numpy()
    rows = [hits.isel({PROMPT: gold == g}).sum(PROMPT) for g in range(len(task.labels))]
    found = xr.concat(rows, dim=GOLD).assign_coords({GOLD: list(task.labels)})
    attrs = {"units": "prompts", "long_name": "prompts by right option and answer"}
    return found.transpose(EDIT, ARGMAX, GOLD, ANSWERED).assign_attrs(attrs)


def _hits(answers: Mapping[str, Sequence[Answers]], task: ChoiceTask) -> xr.DataArray:
    """Which option each prompt was answered with, as a share of draws.

    Axes (answered edit argmax prompt).
    """
    columns = [*range(len(task.labels)), OTHER]
    by_edit = []
    for draws in answers.values():
        chosen = xr.concat([a.by_argmax(task) for a in draws], dim="draw")
        by_edit.append(xr.concat([(chosen == c).mean("draw") for c in columns], dim=ANSWERED))
    return xr.concat(by_edit, dim=EDIT).assign_coords(
        {EDIT: list(answers), ANSWERED: [*task.labels, OTHER_TOKEN]}
    )
