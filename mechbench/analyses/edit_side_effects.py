"""What edits of value vectors do to other tasks and to plain text."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.choices import require_choices
from mechbench.analyses.common.estimates import estimate, estimate_of, labelled
from mechbench.analyses.common.label_edits import label_directions
from mechbench.analyses.common.mlp_values import (
    Neuron,
    neuron_label,
    parse_neurons,
    require_value_vectors,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.text_loss import QUESTIONS, scored_texts, text_losses
from mechbench.analyses.value_vectors import value_vectors
from mechbench.errors import TaskError
from mechbench.interventions.weight_edits import ValueVectorEdit, edited, output_weight
from mechbench.results.choices import (
    EDIT,
    MEASURE,
    NO_EDIT,
    NOTHING_ADDED,
    OTHERS_MEAN,
    always,
)
from mechbench.results.edit_side_effects import (
    LOSS,
    METRIC,
    OTHER_TASK,
    PERPLEXITY,
    TASK_ACCURACY,
    EditSideEffects,
)
from mechbench.shapes import PROMPT
from mechbench.tasks.base import Task
from mechbench.tasks.choice_task import ChoiceTask
from mechbench.tasks.registry import build_task


@torch.inference_mode()
def edit_side_effects(
    model,
    task: ChoiceTask,
    *,
    neurons: Sequence[Any] | None = None,
    n_neurons: int = 6,
    lambda1: float = 1.0,
    lambda2: float = 8.0,
    others: Mapping[str, Mapping[str, Any]] | None = None,
    text: str = QUESTIONS,
    n_texts: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> EditSideEffects:
    """Metric and accuracy of other tasks, and loss of text, before and after edits.

    The edits are written into the weights, all neurons together, and put back.

    Args:
        neurons: such as "9.1853"; by default those that ``value_vectors`` finds on this task.
        n_neurons: at most so many of them.
        lambda1, lambda2: as in ``value_vector_update``.
        others: tasks by name with their parameters, such as ``{"ioi": {"n": 64}}``.
        text: "questions" (the task's questions without options, of which the right option's text
            is scored) or a UTF-8 text file, of whose paragraphs every token is.
        n_texts: at most so many questions or paragraphs.

    Raises:
        TaskError: another task than multiple choice, an unknown other task, too few texts, or no
            neurons.
        UnsupportedHookError: a neuron outside the model, or a model without value vectors.

    Source: Li and Gao 2025 (accuracy on the original IOI task); perplexity and the edits that are
        the same for all prompts are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    if n_texts < 2 or n_neurons < 1:
        raise TaskError(f"n_texts={n_texts} must be 2 or more, n_neurons={n_neurons} 1 or more.")
    rows = scored_texts(model, task, text, n_texts)
    tasks = {name: build_task(name, model.tokenizer, **o) for name, o in (others or {}).items()}
    given = value_vectors(model, task, seed=seed).neurons if neurons is None else neurons
    chosen = parse_neurons(list(given)[:n_neurons], model)
    layers = sorted({layer for layer, _ in chosen})
    require_value_vectors(model, layers)
    before = {layer: output_weight(model, layer).clone() for layer in layers}
    targets = _targets(model, task)
    steps = Steps(1 + len(targets), progress, checkpoint)
    losses, by_task = {}, {}
    for edit in (NO_EDIT, *targets):
        with _applied(model, task, chosen, targets.get(edit), lambda1, lambda2):
            losses[edit] = text_losses(model, rows)
            by_task[edit] = {name: _scores(model, other) for name, other in tasks.items()}
        steps.advance()
    found, change = _tasks(by_task, seed) if tasks else (None, None)
    text_found, text_change = _text(losses, seed)
    return EditSideEffects(
        neurons=tuple(neuron_label(n) for n in chosen),
        lambda1=lambda1,
        lambda2=lambda2,
        n_other={name: len(other) for name, other in tasks.items()},
        metrics={name: _told(other) for name, other in tasks.items()},
        tasks=found,
        task_change=change,
        text_source="answers to questions without options"
        if text == QUESTIONS
        else f"paragraphs of {Path(text).name}",
        n_texts=len(rows),
        text=text_found,
        text_change=text_change,
        restored=all(torch.equal(before[layer], output_weight(model, layer)) for layer in layers),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _targets(model, task: ChoiceTask) -> dict[str, torch.Tensor]:
    """What each edit adds, before lambda2, ``[d_model]``: the same for all prompts."""
    directions = label_directions(task, model.W_U)
    later = [i for i in range(len(task.labels)) if i != task.anchor]
    return {
        NOTHING_ADDED: torch.zeros_like(directions[0]),
        OTHERS_MEAN: directions[later].mean(0),
        **{always(task.labels[i]): directions[i] for i in later},
    }


@contextmanager
def _applied(
    model,
    task: ChoiceTask,
    neurons: Sequence[Neuron],
    target: torch.Tensor | None,
    lambda1: float,
    lambda2: float,
) -> Iterator[None]:
    """The model with one edit written in; without a target, as it is."""
    edits = []
    if target is not None:
        first = label_directions(task, model.W_U)[task.anchor]
        add = lambda2 * target - lambda1 * first
        edits = [ValueVectorEdit(layer, neuron, add) for layer, neuron in neurons]
    with edited(model, edits):
        yield


def _scores(model, task: Task) -> np.ndarray:
    """Metric and accuracy per prompt, ``[measure prompt]``: means over answers."""
    metric, pairs = task.metric().to(model.cfg.device), task.pairs().to(model.cfg.device)
    logits = model.answer_logits(pairs.clean, metric.positions)
    value = metric(logits if metric.vocab is None else logits[..., metric.vocab]).mean(-1)
    right = model.answer_logits(pairs.clean, pairs.answer_positions).argmax(-1) == pairs.answers
    return torch.stack([value.double(), right.double().mean(-1)]).cpu().numpy()


def _told(task: Task) -> str:
    metric = task.metric()
    return f"{metric.name} ({metric.units})"


def _tasks(
    by_task: Mapping[str, Mapping[str, np.ndarray]], seed: int
) -> tuple[xr.DataArray, xr.DataArray]:
    """Scores (estimate measure edit other_task), and their change from no edit."""
    found, changes = [], []
    names = list(next(iter(by_task.values())))
    for name in names:
        stacked = np.stack([of_edit[name] for of_edit in by_task.values()], 1)
        axes = {
            MEASURE: [METRIC, TASK_ACCURACY],
            EDIT: list(by_task),
            PROMPT: range(stacked.shape[-1]),
        }
        values = labelled(stacked, axes, units="metric's, or share", meaning="mean over answers")
        found.append(estimate(values, seed=seed))
        base = values.sel({EDIT: NO_EDIT}, drop=True)
        changes.append(estimate(values - base, seed=seed).assign_attrs(values.attrs))
    first, second = (
        xr.concat(parts, dim=OTHER_TASK)
        .assign_coords({OTHER_TASK: names})
        .transpose("estimate", MEASURE, EDIT, OTHER_TASK)
        for parts in (found, changes)
    )
    return first, second


def _text(losses: Mapping[str, tuple], seed: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Loss and perplexity (estimate measure edit), and the loss's change (estimate edit)."""
    axes = {EDIT: list(losses), PROMPT: range(len(next(iter(losses.values()))[0]))}
    about = {"units": "nats", "meaning": "next-token loss"}
    totals = labelled(torch.stack([total for total, _ in losses.values()]), axes, **about)
    counts = labelled(torch.stack([count for _, count in losses.values()]), axes, **about)
    loss = estimate_of(lambda a, b: a / b, [totals, counts], seed=seed)
    base = totals.sel({EDIT: NO_EDIT}, drop=True)
    change = estimate_of(lambda a, b: a / b, [totals - base, counts], seed=seed)
    perplexity = loss.copy(data=np.exp(loss.values))
    both = xr.concat([loss, perplexity], dim=MEASURE).assign_coords({MEASURE: [LOSS, PERPLEXITY]})
    return (
        both.transpose("estimate", MEASURE, EDIT).assign_attrs(
            units="nats per token, or 1", long_name="of the texts"
        ),
        change.assign_attrs(units="nats per token", long_name="loss minus that without an edit"),
    )
