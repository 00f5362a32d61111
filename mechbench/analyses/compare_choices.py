"""Published numbers about anchored answers, beside what is measured on this model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.anchored_bias import anchored_bias
from mechbench.analyses.attention_recalibration import attention_recalibration
from mechbench.analyses.common.choices import answers_of, item_masks, require_choices
from mechbench.analyses.common.estimates import ESTIMATE
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.published_choices import PublishedRow, read_published_choices
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.value_vector_update import value_vector_update
from mechbench.analyses.value_vectors import value_vectors
from mechbench.errors import TaskError
from mechbench.results.attention_recalibration import HEADS, LABELS_SWAPPED, SWAP
from mechbench.results.choices import (
    ACCURACY,
    ANCHORED,
    ANY_TOKEN,
    ARGMAX,
    EDIT,
    FAILING,
    ITEMS,
    LABELS,
    MEASURE,
    NOT_FIRST,
    RIGHT_LABEL,
    SET,
)
from mechbench.results.compare_choices import MEASURED, ROW, UNTESTED, CompareChoices
from mechbench.results.value_vector_update import EDITED, TOGETHER
from mechbench.results.value_vectors import ValueVectors
from mechbench.tasks.choice_task import ChoiceTask

_NAMES = ["mean", "low", "high"]
Found = tuple[xr.DataArray, int]  # an estimate, and on how many prompts


@torch.inference_mode()
def compare_choices(
    model,
    task: ChoiceTask,
    *,
    published: Path | None = None,
    search: ValueVectors | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CompareChoices:
    """The published rates and accuracies, and this model's, where they are about this model.

    Anchored rates by set; accuracy of failing prompts after the right-label update of the
    published value vector; and after swapping attention in four heads. On another model nothing is
    put beside the published numbers.

    Args:
        published: a file such as ``circuits/mcq_gpt2/published.json``, which is the default.
        search: the result of ``value_vectors`` on this model, where there is one already.

    Raises:
        SpecError: the published numbers cannot be read.
        TaskError: another task than multiple choice.

    Source: the README of ``circuits/mcq_gpt2``.
    """
    clock = Clock()
    task = require_choices(model, task)
    given = read_published_choices(model, published)
    steps = Steps(1 + len(given.rows), progress, None)
    found, why_none = _search(model, task, search, seed)
    steps.advance()
    measure = _Measure(model, task, given.edited, seed, checkpoint)
    here, n, reasons = [], [], {}
    for row in given.rows:
        value, count, reason = measure(row) if given.comparable else (None, 0, given.statement)
        here.append(_blank() if value is None else value)
        n.append(count)
        if reason:
            reasons[row.label] = reason
        steps.advance()
    labels = [row.label for row in given.rows]
    everywhere = given.table()
    return CompareChoices(
        comparable=given.comparable,
        statement=given.statement + why_none,
        source=given.source,
        tag_meanings=given.data["tags"],
        published_model=given.column,
        published=everywhere.sel(column=given.column, drop=True),
        published_everywhere=everywhere,
        tags=tuple(row.tag for row in given.rows),
        here=xr.concat(here, dim=ROW)
        .assign_coords({ROW: labels})
        .transpose(ESTIMATE, ROW)
        .assign_attrs(units="share", long_name="measured here"),
        n=tuple(n),
        status=tuple(UNTESTED if label in reasons else MEASURED for label in labels),
        reasons=reasons,
        edited_published=given.edited,
        found=found,
        unassigned={r["what"]: r["value"] for r in given.data["of_no_stated_model"]},
        provenance=clock.provenance(model, task, seed=seed, notes=(given.statement,)),
    )


def _search(
    model, task: ChoiceTask, search: ValueVectors | None, seed: int
) -> tuple[tuple[str, ...], str]:
    """The neurons found here, and why there are none where nothing fails."""
    if search is not None:
        return search.neurons, ""
    masks = item_masks(task, answers_of(model, task))
    if int(masks[FAILING].sum()) < 2:
        return (), " Fewer than two prompts fail here, so no value vectors were looked for."
    return value_vectors(model, task, seed=seed).neurons, ""


class _Measure:
    """Measures a published row on the prompts of its set."""

    def __init__(
        self, model, task: ChoiceTask, edited: str | None, seed: int, checkpoint: Path | None
    ):
        self.model, self.task, self.edited, self.seed = model, task, edited, seed
        self.folder = None if checkpoint is None else Path(checkpoint)

    def __call__(self, row: PublishedRow) -> tuple[xr.DataArray | None, int, str]:
        """The estimate and its n; or none, and why."""
        own = torch.tensor([s == row.set_name for s in self.task.sets])
        if int(own.sum()) < 2:
            return None, 0, f"the task has fewer than two prompts of the set {row.set_name!r}"
        measures: dict[str, Callable[[ChoiceTask, str], Found]] = {
            "anchored": self._anchored,
            "update": self._update,
            "swap": self._swap,
        }
        try:
            value, n = measures[row.measure](self.task.select(own), row.set_name)
        except TaskError as error:
            return None, 0, str(error)
        return value.drop_vars([c for c in value.coords if c != ESTIMATE]), n, ""

    def _options(self, name: str) -> dict[str, Any]:
        return {"seed": self.seed, "checkpoint": self.folder and self.folder / name}

    def _anchored(self, task: ChoiceTask, name: str) -> Found:
        result = anchored_bias(self.model, task, other_labels=(), seed=self.seed)
        at = {MEASURE: ANCHORED, ARGMAX: ANY_TOKEN, LABELS: result.own[0], SET: "all"}
        return result.rates.sel(at), int(result.n.sel({ITEMS: NOT_FIRST, SET: "all"}))

    def _update(self, task: ChoiceTask, name: str) -> Found:
        if self.edited is None:
            raise TaskError("the edited value vector is not reported for this model")
        result = value_vector_update(
            self.model,
            task,
            neurons=[self.edited],
            sweep=(8.0,),
            n_random=1,
            **self._options(f"update-{name}"),
        )
        at = {EDIT: RIGHT_LABEL, EDITED: TOGETHER}
        return self._failing(result.rates.sel(at)), int(result.n.sel({ITEMS: FAILING}))

    def _swap(self, task: ChoiceTask, name: str) -> Found:
        result = attention_recalibration(
            self.model, task, counts=(4,), n_random=1, **self._options(f"swap-{name}")
        )
        found = result.rates.sel({SWAP: LABELS_SWAPPED}).isel({HEADS: 0})
        return self._failing(found), int(result.n.sel({ITEMS: FAILING}))

    @staticmethod
    def _failing(rates: xr.DataArray) -> xr.DataArray:
        return rates.sel({MEASURE: ACCURACY, ARGMAX: ANY_TOKEN, ITEMS: FAILING})


def _blank() -> xr.DataArray:
    return xr.DataArray(np.full(3, np.nan), coords={ESTIMATE: _NAMES}, dims=ESTIMATE)
