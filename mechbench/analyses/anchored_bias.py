"""How often a model answers the first label where it is wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import (
    OTHER,
    Answers,
    answers_of,
    item_masks,
    rate,
    require_choices,
    shares,
)
from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError, TokenizerError
from mechbench.results.anchored_bias import (
    ACCURACY_FIRST,
    ACCURACY_LATER,
    ARTICLE_PROBABILITY,
    ARTICLE_TOP,
    AnchoredBias,
)
from mechbench.results.choices import (
    ACCURACY,
    ALL,
    ANCHORED,
    ANSWERED,
    ARGMAX,
    FAILING,
    GOLD,
    GOLD_FIRST,
    ITEMS,
    LABELS,
    MEASURE,
    NOT_FIRST,
    OPTION,
    OTHER_TOKEN,
    SET,
)
from mechbench.shapes import PROMPT
from mechbench.tasks.choice_task import ChoiceTask


@torch.inference_mode()
def anchored_bias(
    model,
    task: ChoiceTask,
    *,
    other_labels: Sequence[str] = ("1", "P"),
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> AnchoredBias:
    """The anchored-bias rate by set, with accuracies, confusions and relabelled questions.

    Args:
        other_labels: further families of labels, each by its first label, under which the same
            questions are asked. A family that the task or the tokenizer cannot have is left out,
            and the result says why.

    Raises:
        TaskError: another task than multiple choice, or fewer than two prompts.

    Source: Li and Gao 2025 (the rate, and the argmax over the whole vocabulary); the other argmax,
        the other labels and the control are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    steps = Steps(1 + len(other_labels), progress, checkpoint)
    families, left_out = _families(task, other_labels)
    token, answers = int(task.label_ids[task.anchor]), {}
    for name, family in families.items():
        answers[name] = answers_of(model, family, [token])
        steps.advance()
    own, *others = families
    chosen = xr.concat([answers[f].by_argmax(families[f]) for f in families], dim=LABELS)
    chosen = chosen.assign_coords({LABELS: list(families)})
    masks = item_masks(task, answers[own])
    anchored = (chosen == task.anchor).astype(float)
    apart = anchored.sel({LABELS: own}, drop=True) - anchored.sel({LABELS: others})
    steps.finish()
    return AnchoredBias(
        own=task.labels,
        left_out=left_out,
        rates=_rates(chosen, task, masks, seed),
        n=_counts(task, masks),
        wrong=_wrong(chosen, task, seed),
        chance=_chance(task, masks[NOT_FIRST]),
        without_article=shares(
            rate(apart, masks[NOT_FIRST], seed=seed), "anchored rate, own minus other labels"
        ),
        article=_article(task, answers, seed),
        confusion=_confusion(chosen, task),
        failing=tuple(masks[FAILING].nonzero().flatten().tolist()),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _families(
    task: ChoiceTask, other_labels: Sequence[str]
) -> tuple[dict[str, ChoiceTask], dict[str, str]]:
    families, left_out = {task.labels[task.anchor]: task}, {}
    for first in dict.fromkeys(other_labels):
        try:
            relabelled = task.relabelled(first)
        except (TaskError, TokenizerError) as error:
            left_out[first] = str(error)
            continue
        families.setdefault(relabelled.labels[task.anchor], relabelled)
    return families, left_out


def _by_set(task: ChoiceTask) -> dict[str, Tensor]:
    """Masks ``[prompt]`` of all prompts and of each set."""
    names = [name for name in dict.fromkeys(task.sets) if name]
    found = {ALL: torch.ones(len(task), dtype=torch.bool)}
    return found | {name: torch.tensor([s == name for s in task.sets]) for name in names}


def _rates(
    chosen: xr.DataArray, task: ChoiceTask, masks: dict[str, Tensor], seed: int
) -> xr.DataArray:
    right = chosen == xr.DataArray(task.gold.numpy(), dims=PROMPT)
    measures = {
        ANCHORED: (chosen == task.anchor, masks[NOT_FIRST]),
        ACCURACY: (right, masks[ALL]),
        ACCURACY_FIRST: (right, masks[GOLD_FIRST]),
        ACCURACY_LATER: (right, masks[NOT_FIRST]),
    }
    sets = _by_set(task)
    by_measure = [
        xr.concat([rate(hits, mask & own, seed=seed) for own in sets.values()], dim=SET)
        for hits, mask in measures.values()
    ]
    rates = xr.concat(by_measure, dim=MEASURE).assign_coords(
        {MEASURE: list(measures), SET: list(sets)}
    )
    return shares(rates.transpose("estimate", MEASURE, LABELS, ARGMAX, SET), "share of prompts")


def _counts(task: ChoiceTask, masks: dict[str, Tensor]) -> xr.DataArray:
    sets = _by_set(task)
    values = [[int((mask & own).sum()) for own in sets.values()] for mask in masks.values()]
    return xr.DataArray(
        np.array(values),
        coords={ITEMS: list(masks), SET: list(sets)},
        dims=(ITEMS, SET),
        attrs={"units": "prompts", "long_name": "prompts of each kind"},
    )


def _wrong(chosen: xr.DataArray, task: ChoiceTask, seed: int) -> xr.DataArray:
    """How often each option is answered where it is offered and wrong."""
    parts = []
    for option in range(len(task.labels)):
        mask = (task.gold != option) & (task.n_options > option)
        parts.append(rate(chosen == option, mask, seed=seed))
    rates = xr.concat(parts, dim=OPTION).assign_coords({OPTION: list(task.labels)})
    return shares(rates.transpose("estimate", LABELS, ARGMAX, OPTION), "answered where wrong")


def _chance(task: ChoiceTask, later: Tensor) -> xr.DataArray:
    sets = _by_set(task)
    values = [(1 / task.n_options[later & own].double()).mean().item() for own in sets.values()]
    attrs = {"units": "share", "long_name": "one of the options at random"}
    return xr.DataArray(np.array(values), coords={SET: list(sets)}, dims=SET, attrs=attrs)


def _article(task: ChoiceTask, answers: dict[str, Answers], seed: int) -> xr.DataArray:
    """How likely the own first label's token is under each family of labels."""
    token = task.label_ids[task.anchor]
    rows = [((a.top == token).double(), a.also[:, 0].exp()) for a in answers.values()]
    values = xr.DataArray(
        np.array([[of_family[i].numpy() for of_family in rows] for i in range(2)]),
        coords={
            MEASURE: [ARTICLE_TOP, ARTICLE_PROBABILITY],
            LABELS: list(answers),
            PROMPT: range(len(task)),
        },
        dims=(MEASURE, LABELS, PROMPT),
    )
    return shares(estimate(values, seed=seed), f"of the token {task.labels[task.anchor]!r}")


def _confusion(chosen: xr.DataArray, task: ChoiceTask) -> xr.DataArray:
    columns = [*range(len(task.labels)), OTHER]
    gold = task.gold.numpy()
    by_gold = [
        xr.concat([(chosen == c).isel({PROMPT: gold == g}).sum(PROMPT) for c in columns], ANSWERED)
        for g in range(len(task.labels))
    ]
    counts = xr.concat(by_gold, dim=GOLD).assign_coords(
        {GOLD: list(task.labels), ANSWERED: [*task.labels, OTHER_TOKEN]}
    )
    attrs = {"units": "prompts", "long_name": "prompts by right option and answer"}
    return counts.transpose(LABELS, ARGMAX, GOLD, ANSWERED).assign_attrs(attrs)
