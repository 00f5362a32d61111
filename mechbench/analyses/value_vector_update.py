"""What a model answers after the value vectors that say the first label were rewritten."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import (
    Answers,
    require_choices,
    some_items,
)
from mechbench.analyses.common.confusions import confusion_shares
from mechbench.analyses.common.edited_answers import EditedAnswers, PromptEdits
from mechbench.analyses.common.label_edits import (
    by_items,
    item_counts,
    label_directions,
    label_edits,
    masks_of,
    random_active,
    right_probability,
    scored,
    targets,
)
from mechbench.analyses.common.mlp_values import (
    Neuron,
    neuron_label,
    parse_neurons,
    require_value_vectors,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.written_edits import check_written
from mechbench.analyses.value_vectors import value_vectors
from mechbench.errors import TaskError
from mechbench.results.choices import (
    EDIT,
    FAILING,
    ITEMS,
    NO_EDIT,
    NOTHING_ADDED,
    RANDOM_NEURON,
    RIGHT_LABEL,
)
from mechbench.results.files import make_folder
from mechbench.results.value_vector_update import EDITED, LAMBDA2, TOGETHER, ValueVectorUpdate
from mechbench.tasks.choice_task import ChoiceTask

_N_CHECKED = 3
_SHOWN = (NO_EDIT, RIGHT_LABEL, NOTHING_ADDED)


@torch.inference_mode()
def value_vector_update(
    model,
    task: ChoiceTask,
    *,
    neurons: Sequence[Any] | None = None,
    n_neurons: int = 6,
    lambda1: float = 1.0,
    lambda2: float = 8.0,
    sweep: Sequence[float] = (0.0, 2.0, 4.0, 6.0, 8.0),
    n_random: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ValueVectorUpdate:
    """Accuracy and bias after edits of value vectors, one at a time and together, with controls.

    Args:
        neurons: such as "9.1853"; by default those that ``value_vectors`` finds on this task.
        n_neurons: at most so many of them, in their order.
        lambda1: how much of the first label's unembedding is taken out.
        lambda2: how much of the target is put in.
        sweep: further values of lambda2 for the right-label edit.
        n_random: draws of the control with random active neurons.

    Raises:
        TaskError: another task than multiple choice, fewer than two failing prompts, or no neurons.
        UnsupportedHookError: a neuron that the model does not have, or a model without value
            vectors.

    Source: Li and Gao 2025 (lambda1 = 1, lambda2 = 8, the sweep); all controls are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    _check(n_neurons, n_random, sweep)
    given = value_vectors(model, task, seed=seed).neurons if neurons is None else neurons
    chosen = parse_neurons(list(given)[:n_neurons], model)
    require_value_vectors(model, sorted({layer for layer, _ in chosen}))
    folder = None if checkpoint is None else make_folder(Path(checkpoint))
    runs = EditedAnswers(model, task, folder and folder / "answers.npz")
    unedited = runs.under([])
    some_items(task, unedited, FAILING)
    update = _Update(runs, chosen, lambda1, lambda2, n_random, seed)
    lambdas = sorted({*map(float, sweep), float(lambda2)})
    cells = update.cells_by_edit()
    curve = {x: update.cells(lambda2=x) for x in lambdas}
    n_cells = sum(len(draws) for of_edit in cells.values() for draws in of_edit.values())
    steps = Steps(n_cells + len(lambdas) * len(update.groups) + _N_CHECKED, progress, None)
    masks = masks_of(task, unedited)
    answers: dict[str, dict[str, list[Answers]]] = {NO_EDIT: {g: [unedited] for g in update.groups}}
    for edit, of_edit in cells.items():
        answers[edit] = {group: _run(runs, draws, steps) for group, draws in of_edit.items()}
    swept = {
        x: {group: _run(runs, [edits], steps) for group, edits in of_lambda.items()}
        for x, of_lambda in curve.items()
    }
    runs.save()
    failing = masks[FAILING].nonzero().flatten()[:_N_CHECKED]
    difference, restored = check_written(runs, cells[RIGHT_LABEL][TOGETHER][0], failing)
    steps.finish()
    return ValueVectorUpdate(
        neurons=tuple(neuron_label(n) for n in chosen),
        lambda1=lambda1,
        lambda2=lambda2,
        n_random=n_random,
        uses_right_label={edit: edit in (RIGHT_LABEL, RANDOM_NEURON) for edit in answers},
        statement=_STATEMENT,
        rates=_rates(answers, task, masks, seed, EDIT),
        probability=_probability(answers, task, masks, seed),
        n=item_counts(masks),
        curve=_rates(swept, task, masks, seed, LAMBDA2),
        confusion=confusion_shares(
            {edit: answers[edit][TOGETHER] for edit in _SHOWN}, task, seed=seed
        ),
        n_checked=len(failing),
        largest_difference=difference,
        restored=restored,
        provenance=clock.provenance(model, task, seed=seed),
    )


_STATEMENT = (
    "The right-label edits are told each prompt's answer: they show that a neuron is active at the "
    "last position and can write a label, not that the model answers questions. Edits that do not "
    "use the right label are those that could be applied."
)


def _check(n_neurons: int, n_random: int, sweep: Sequence[float]) -> None:
    if n_neurons < 1 or n_random < 1 or not sweep:
        raise TaskError(
            f"n_neurons={n_neurons}, n_random={n_random} and sweep={list(sweep)}: give at least "
            "one neuron, one draw and one value of lambda2."
        )


class _Update:
    """The edits of chosen neurons, by kind and by group of neurons."""

    def __init__(
        self,
        runs: EditedAnswers,
        neurons: Sequence[Neuron],
        lambda1: float,
        lambda2: float,
        n_random: int,
        seed: int,
    ):
        model, self.task = runs.model, runs.task
        self.lambda1, self.lambda2 = lambda1, lambda2
        self.directions = label_directions(self.task, model.W_U)
        self.targets = targets(self.task, model.W_U)
        self.groups = {neuron_label(n): [n] for n in neurons} | {TOGETHER: list(neurons)}
        self.random = {
            group: random_active(model, self.task, members, n_random, seed + i)
            for i, (group, members) in enumerate(self.groups.items())
        }

    def cells(
        self, target: str = RIGHT_LABEL, lambda2: float | None = None
    ) -> dict[str, list[PromptEdits]]:
        """The edits of each group of neurons towards one target."""
        return {
            group: self._edits(members, self.targets[target], lambda2)
            for group, members in self.groups.items()
        }

    def cells_by_edit(self) -> dict[str, dict[str, list[list[PromptEdits]]]]:
        """Of each kind of edit and each group, the edits of one draw or of several."""
        found = {
            kind: {group: [edits] for group, edits in self.cells(kind).items()}
            for kind in self.targets
        }
        found[RANDOM_NEURON] = {
            group: [self._edits(draw, self.targets[RIGHT_LABEL], None) for draw in draws]
            for group, draws in self.random.items()
        }
        return found

    def _edits(
        self, neurons: Sequence[Neuron], target: Tensor, lambda2: float | None
    ) -> list[PromptEdits]:
        strength = self.lambda2 if lambda2 is None else lambda2
        return label_edits(
            neurons,
            self.directions,
            self.task.anchor,
            target,
            lambda1=self.lambda1,
            lambda2=strength,
        )


def _run(runs: EditedAnswers, draws: Sequence[list[PromptEdits]], steps: Steps) -> list[Answers]:
    found = []
    for edits in draws:
        found.append(runs.under(edits))
        steps.advance()
    return found


def _rates(
    answers: dict[Any, dict[str, list[Answers]]],
    task: ChoiceTask,
    masks: dict[str, Tensor],
    seed: int,
    axis: str,
) -> xr.DataArray:
    """Shares of prompts, axes (estimate measure ``axis`` edited argmax items)."""
    rows = [
        xr.concat([scored(found, task) for found in of_edit.values()], dim=EDITED)
        for of_edit in answers.values()
    ]
    groups = list(next(iter(answers.values())))
    values = xr.concat(rows, dim=axis).assign_coords({axis: list(answers), EDITED: groups})
    found = by_items(values, masks, seed=seed)
    return found.transpose("estimate", "measure", axis, EDITED, "argmax", ITEMS).assign_attrs(
        units="share", long_name="share of prompts"
    )


def _probability(
    answers: dict[str, dict[str, list[Answers]]],
    task: ChoiceTask,
    masks: dict[str, Tensor],
    seed: int,
) -> xr.DataArray:
    rows = [
        xr.concat([right_probability(found, task) for found in of_edit.values()], dim=EDITED)
        for of_edit in answers.values()
    ]
    groups = list(next(iter(answers.values())))
    values = xr.concat(rows, dim=EDIT).assign_coords({EDIT: list(answers), EDITED: groups})
    return by_items(values, masks, seed=seed).assign_attrs(
        units="probability", long_name="of the right label"
    )
