"""What the analyses ask about an acronym task. Letters and words count from 1."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import labelled
from mechbench.errors import TaskError
from mechbench.results.circuit_search import ALL_LETTERS
from mechbench.shapes import ANSWER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask
from mechbench.tasks.base import Task
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

CURRENT_WORD = "current_word"
PREVIOUS_WORDS = "previous_words"
PREVIOUS_LETTERS = "previous_letters"
_CORRUPTIONS = (CURRENT_WORD, PREVIOUS_WORDS, PREVIOUS_LETTERS)


def all_pairs(task: AcronymTask, *, method: str = "resample", seed: int) -> PromptPairs:
    """The clean prompts against prompts of which every word and every given letter is corrupted.

    Raises:
        TaskError: fewer than two prompts.
    """
    check_size(task, 2)
    return task.pairs("all", method=method, seed=seed)


def check_size(task: Task, n: int) -> None:
    """Raises TaskError where the task has fewer than ``n`` prompts."""
    if len(task) < n:
        raise TaskError(
            f"The task {task.name!r} has {len(task)} prompts, and this analysis needs at least {n} "
            f"for its intervals over prompts. Generate more with n=..., or add rows to the file."
        )


def n_letters(task: AcronymTask) -> int:
    return len(task.frame.answers)


def choose_letters(letters: Sequence[int] | None, task: AcronymTask, corruption: str) -> list[int]:
    """The letters to look at; by default all that the corruption can reach.

    Raises:
        TaskError: an unknown corruption, a letter that the acronym does not have or that is named
            twice, or letter 1 for a corruption of what precedes it.
    """
    last = n_letters(task)
    if corruption not in _CORRUPTIONS:
        raise TaskError(
            f"corruption={corruption!r} is not known here: use one of {', '.join(_CORRUPTIONS)}."
        )
    first = 1 if corruption == CURRENT_WORD else 2
    chosen = list(range(first, last + 1)) if letters is None else list(letters)
    if not chosen or len(set(chosen)) < len(chosen):
        raise TaskError(f"letters={chosen} must name each letter once, and at least one.")
    for letter in chosen:
        if not first <= letter <= last:
            because = " (nothing precedes letter 1)" if letter == 1 else ""
            raise TaskError(
                f"Letter {letter} cannot be corrupted by {corruption!r}{because}: use letters "
                f"{first}..{last}."
            )
    return chosen


def choose_swaps(
    task: AcronymTask, wanted: Sequence[Sequence[int]] | None
) -> list[tuple[int, int]]:
    """Pairs of words (a, b); by default every pair of different words.

    Raises:
        TaskError: not two words of the acronym, or no pair at all.
    """
    last = n_letters(task)
    if wanted is None:
        chosen = [(a, b) for a in range(1, last + 1) for b in range(a + 1, last + 1)]
    else:
        chosen = [tuple(pair) for pair in wanted]
    for pair in chosen:
        if len(pair) != 2 or not all(1 <= i <= last for i in pair):
            raise TaskError(f"{list(pair)} is not a pair of words: give two of 1..{last}.")
    if not chosen:
        raise TaskError("There is no pair of words to swap: the acronym needs two letters.")
    return [(a, b) for a, b in chosen]


def swap_label(pair: tuple[int, int]) -> str:
    return f"C{pair[0]}↔C{pair[1]}"


def subset(task: AcronymTask, rows: Sequence[int]) -> AcronymTask:
    """Some of the prompts of a task."""
    index = torch.tensor(list(rows))
    return replace(
        task,
        clean=task.clean[index],
        letters=task.letters[index],
        words=tuple(task.words[i] for i in rows),
    )


def clean_metric(model, task: AcronymTask, metric: Metric) -> xr.DataArray:
    """The metric on the clean prompts without any intervention, dims ``(prompt, answer)``."""
    device = model.cfg.device
    metric = metric.to(device)
    logits = model.answer_logits(task.clean.to(device), metric.positions, metric.vocab)
    return per_prompt(metric(logits), task, meaning="LD of the clean run")


def per_prompt(values: Tensor, task: AcronymTask, *, meaning: str, **axes) -> xr.DataArray:
    """Values in logits with axes ``axes`` (label lists, in order), then prompt and answer."""
    coords = {**axes, PROMPT: range(len(task)), ANSWER: answer_labels(task)}
    return labelled(values, coords, units="logits", meaning=meaning)


def answer_labels(task: AcronymTask) -> list[str]:
    return [f"letter {i}" for i in range(1, n_letters(task) + 1)]


def with_all_letters(values: xr.DataArray) -> xr.DataArray:
    """``values`` with one more answer, ``"all letters"``: the mean over letters."""
    mean = values.mean(ANSWER, keepdims=True).assign_coords({ANSWER: [ALL_LETTERS]})
    return xr.concat([values, mean], dim=ANSWER).transpose(*values.dims).assign_attrs(values.attrs)
