"""Taking out the bias towards the first label without being told any right label."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import OTHER, Answers, require_choices, shares
from mechbench.analyses.common.edited_answers import EditedAnswers, PromptEdits
from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.halves import calibration_and_test
from mechbench.analyses.common.label_edits import (
    by_items,
    item_counts,
    label_directions,
    label_edits,
    masks_of,
    random_active,
    scored,
    targets,
)
from mechbench.analyses.common.label_free import (
    calibrated,
    label_offsets,
    strongest_pulls,
    unevenness,
)
from mechbench.analyses.common.mlp_values import (
    Neuron,
    neuron_label,
    parse_neurons,
    require_value_vectors,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.choices import (
    ACCURACY,
    ANSWERED,
    ARGMAX,
    ITEMS,
    MEASURE,
    NO_EDIT,
    NOTHING_ADDED,
    OPTION,
    OTHER_TOKEN,
    OTHERS_MEAN,
    RIGHT_LABEL,
)
from mechbench.results.files import make_folder
from mechbench.results.label_free_debiasing import (
    CALIBRATED,
    CHOSEN_EDIT,
    KIND,
    KINDS,
    LAMBDA,
    LEVELLED,
    METHOD,
    N_NEURONS,
    SAME_RANDOM,
    LabelFreeDebiasing,
)
from mechbench.shapes import NEURON
from mechbench.tasks.choice_task import ChoiceTask

_STATEMENT = (
    "Only the edit 'right label' is told right labels, and stands there to be compared with. The "
    "others assume that right options are spread evenly over the places of the calibration "
    "prompts, and were chosen without right labels."
)


@torch.inference_mode()
def label_free_debiasing(
    model,
    task: ChoiceTask,
    *,
    neurons: Sequence[Any] | None = None,
    n_neurons: Sequence[int] = (1, 2, 4, 8),
    lambdas: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0),
    calibration_share: float = 0.5,
    n_random: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> LabelFreeDebiasing:
    """Debiasing chosen on some prompts without right labels, tested on others, beside controls.

    Args:
        neurons: candidates, the strongest first; by default those that pull most to the first
            label on the calibration prompts.
        n_neurons: how many of them are edited together.
        lambdas: strengths: v <- v - lambda W_U[first label], or that plus lambda times the mean of
            the later labels.
        calibration_share: of the prompts, on which the edit is chosen.
        n_random: draws of random active neurons.

    Raises:
        TaskError: another task than multiple choice, too few prompts, no neuron that pulls to the
            first label, or an option out of range.
        UnsupportedHookError: a neuron outside the model, or a model without value vectors.

    Source: our choice; the compared edit is that of Li and Gao 2025.
    """
    clock = Clock()
    task = require_choices(model, task, n=4)
    if min([*n_neurons, n_random], default=0) < 1 or not n_neurons or not lambdas:
        raise TaskError(
            f"n_neurons={list(n_neurons)}, lambdas={list(lambdas)}, n_random={n_random}: each "
            "needs at least one value, and counts are 1 or more."
        )
    require_value_vectors(model, list(range(model.cfg.n_layers)))
    calibration, test = calibration_and_test(task, calibration_share, seed=seed)
    pulls = _candidates(model, calibration, neurons, max(n_neurons))
    candidates = [neuron for neuron, _ in pulls]
    sizes = sorted({min(n, len(candidates)) for n in n_neurons})
    folder = None if checkpoint is None else make_folder(Path(checkpoint))
    tuning = _Edits(model, calibration, folder and folder / "calibration.npz")
    testing = _Edits(model, test, folder and folder / "test.npz")
    steps = Steps(len(KINDS) * len(sizes) * len(lambdas) + 2 + n_random, progress, None)
    found = _search(tuning, candidates, sizes, [float(x) for x in lambdas], steps)
    best = _best(found)
    edited = candidates[: best[N_NEURONS]]
    offsets = label_offsets(tuning.runs.under([]))
    draws = random_active(model, test, edited, n_random, seed)
    answers = _debiased(testing, best, edited, draws, offsets, steps)
    tuning.runs.save()
    testing.runs.save()
    steps.finish()
    return LabelFreeDebiasing(
        statement=_STATEMENT,
        uses_right_label={way: way == RIGHT_LABEL for way in answers},
        **_scores(answers, test, seed),
        answers=_answers(answers, test, seed),
        n_calibration=len(calibration),
        n_random=n_random,
        neurons=tuple(neuron_label(n) for n in candidates),
        pull=_listed(
            [p for _, p in pulls], NEURON, [neuron_label(n) for n in candidates], "logits"
        ),
        offsets=_listed(offsets.tolist(), OPTION, list(test.labels), "nats"),
        unevenness=found,
        unevenness_unedited=unevenness(tuning.runs.under([]), calibration),
        chosen=best,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _candidates(
    model, task: ChoiceTask, neurons: Sequence[Any] | None, n: int
) -> list[tuple[Neuron, float]]:
    """Neurons with their mean pull to the first label; NaN where a given one was not measured."""
    pulls = strongest_pulls(model, task, n)
    if neurons is not None:
        known = dict(pulls)
        return [(own, known.get(own, float("nan"))) for own in parse_neurons(neurons, model)]
    if not pulls:
        raise TaskError(
            "No neuron pulls to the first label on the calibration prompts, so there is nothing "
            "to edit: the model does not have this bias."
        )
    return pulls


def _debiased(
    testing: "_Edits",
    best: Mapping[str, Any],
    edited: Sequence[Neuron],
    draws: Sequence[Sequence[Neuron]],
    offsets: Tensor,
    steps: Steps,
) -> dict[str, list[Answers]]:
    """Answers to the test prompts in every way; several where there are several draws."""
    kind, strength = best[KIND], best[LAMBDA]
    unedited = testing.runs.under([])
    return {
        NO_EDIT: [unedited],
        CALIBRATED: [calibrated(unedited, testing.task, offsets)],
        CHOSEN_EDIT: [testing.under(edited, kind, strength, steps)],
        SAME_RANDOM: [testing.under(draw, kind, strength, steps) for draw in draws],
        RIGHT_LABEL: [testing.told(edited, steps)],
    }


def _scores(
    answers: Mapping[str, list[Answers]], task: ChoiceTask, seed: int
) -> dict[str, xr.DataArray]:
    """Rates, gains in accuracy, and how many prompts of each kind there are."""
    masks = masks_of(task, answers[NO_EDIT][0])
    hits = xr.concat([scored(a, task) for a in answers.values()], dim=METHOD)
    hits = hits.assign_coords({METHOD: list(answers)})
    accuracy = hits.sel({MEASURE: ACCURACY}, drop=True)
    rates = by_items(hits, masks, seed=seed).transpose("estimate", MEASURE, METHOD, ARGMAX, ITEMS)
    gain = by_items(accuracy - accuracy.sel({METHOD: NO_EDIT}, drop=True), masks, seed=seed)
    return {
        "rates": shares(rates, "share of test prompts"),
        "gain": shares(gain, "accuracy minus that without an edit"),
        "n": item_counts(masks),
    }


def _listed(values: list[float], axis: str, labels: list[str], units: str) -> xr.DataArray:
    attrs = {"units": units, "long_name": "for the first label" if axis == NEURON else "of labels"}
    return xr.DataArray(np.array(values), coords={axis: labels}, dims=axis, attrs=attrs)


class _Edits:
    """Edits of one part of the prompts."""

    def __init__(self, model, task: ChoiceTask, checkpoint: Path | None):
        self.task = task
        self.runs = EditedAnswers(model, task, checkpoint)
        self.directions = label_directions(task, model.W_U)
        self.targets = targets(task, model.W_U)

    def under(self, neurons: Sequence[Neuron], kind: str, strength: float, steps: Steps) -> Answers:
        """The answers when the first label is removed, or moved to the later ones."""
        target = self.targets[OTHERS_MEAN if kind == LEVELLED else NOTHING_ADDED]
        edits = self._edits(neurons, target, strength, strength)
        steps.advance()
        return self.runs.under(edits)

    def told(self, neurons: Sequence[Neuron], steps: Steps) -> Answers:
        """The answers under Li and Gao's edit, which uses each prompt's right label."""
        steps.advance()
        return self.runs.under(self._edits(neurons, self.targets[RIGHT_LABEL], 1.0, 8.0))

    def _edits(
        self, neurons: Sequence[Neuron], target: Tensor, lambda1: float, lambda2: float
    ) -> list[PromptEdits]:
        return label_edits(
            neurons, self.directions, self.task.anchor, target, lambda1=lambda1, lambda2=lambda2
        )


def _search(
    tuning: _Edits,
    candidates: Sequence[Neuron],
    sizes: list[int],
    lambdas: list[float],
    steps: Steps,
) -> xr.DataArray:
    """Unevenness of the labels on the calibration prompts under every edit."""
    values = [
        [
            [
                unevenness(tuning.under(candidates[:n], kind, strength, steps), tuning.task)
                for strength in lambdas
            ]
            for n in sizes
        ]
        for kind in KINDS
    ]
    return xr.DataArray(
        np.array(values),
        coords={KIND: list(KINDS), N_NEURONS: sizes, LAMBDA: lambdas},
        dims=(KIND, N_NEURONS, LAMBDA),
        attrs={"units": "probability", "long_name": "total variation from an even choice"},
    )


def _best(found: xr.DataArray) -> dict[str, Any]:
    """The edit with the most even labels; the first of equals."""
    flat = int(found.values.argmin())
    kind, n, strength = np.unravel_index(flat, found.shape)
    return {
        KIND: str(found[KIND].values[kind]),
        N_NEURONS: int(found[N_NEURONS].values[n]),
        LAMBDA: float(found[LAMBDA].values[strength]),
    }


def _answers(answers: Mapping[str, list[Answers]], task: ChoiceTask, seed: int) -> xr.DataArray:
    columns = [*range(len(task.labels)), OTHER]
    rows = []
    for draws in answers.values():
        chosen = [a.by_argmax(task) for a in draws]
        hits = [xr.concat([c == column for column in columns], dim=ANSWERED) for c in chosen]
        rows.append(sum((h.astype(float) for h in hits[1:]), hits[0].astype(float)) / len(hits))
    values = xr.concat(rows, dim=METHOD).assign_coords(
        {METHOD: list(answers), ANSWERED: [*task.labels, OTHER_TOKEN]}
    )
    found = estimate(values, seed=seed).transpose("estimate", METHOD, ARGMAX, ANSWERED)
    return shares(found, "share of all answers")
