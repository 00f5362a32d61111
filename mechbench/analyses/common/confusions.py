"""Answers by right option, as shares with intervals."""

from collections.abc import Mapping

import xarray as xr

from mechbench.analyses.common.choices import OTHER, Answers, rate, shares
from mechbench.results.choices import ANSWERED, ARGMAX, EDIT, GOLD, OTHER_TOKEN
from mechbench.tasks.choice_task import ChoiceTask


def confusion_shares(
    answers: Mapping[str, Answers], task: ChoiceTask, *, seed: int
) -> xr.DataArray:
    """Shares of answers among prompts with each right option.

    Axes (estimate edit argmax gold answered); rows sum to 1, and are NaN where no prompt has that
    right option.
    """
    chosen = xr.concat([a.by_argmax(task) for a in answers.values()], dim=EDIT)
    chosen = chosen.assign_coords({EDIT: list(answers)})
    columns = [*range(len(task.labels)), OTHER]
    hits = xr.concat([chosen == c for c in columns], dim=ANSWERED)
    hits = hits.assign_coords({ANSWERED: [*task.labels, OTHER_TOKEN]})
    rows = [rate(hits, task.gold == g, seed=seed) for g in range(len(task.labels))]
    found = xr.concat(rows, dim=GOLD).assign_coords({GOLD: list(task.labels)})
    return shares(
        found.transpose("estimate", EDIT, ARGMAX, GOLD, ANSWERED), "answers by right option"
    )
