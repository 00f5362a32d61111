"""What a model answers to the five questions of two-hop queries."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.row_runs import run_rows
from mechbench.analyses.common.steps import Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.interventions.generation_work import NOTHING
from mechbench.interventions.patched_generation import completions
from mechbench.results.hop_labels import CORRECT, INCORRECT, NEITHER
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import (
    COMPOSITION,
    ENTITY_SHORTCUT,
    FIRST_HOP,
    LABELS,
    RELATION_SHORTCUT,
    SECOND_HOP,
)

METHODS = ("generate", "argmax")
CAPS = ("e2", "e2_type")
MAX_NEW_TOKENS = 10


@dataclass(frozen=True)
class Answers:
    """What a model answered to one question of each query.

    Attributes:
        tokens: the new tokens ``[prompt new]``.
        texts: the same as text; of the first token alone under "argmax".
        log_prob: of the first token of what is asked for, ``[prompt]``.
        right, control: whether it names what is asked for, or the same of the query's partner.
    """

    tokens: Tensor
    texts: tuple[str, ...]
    log_prob: Tensor
    right: np.ndarray
    control: np.ndarray


def check_method(model, method: str) -> None:
    """Raises TaskError for an unknown method, TokenizerError where one needs text."""
    if method not in METHODS:
        raise TaskError(f"method={method!r} is not known. {did_you_mean(method, METHODS)}")
    if method == "generate" and model.tokenizer is None:
        raise TokenizerError(
            f"{model.cfg.model_name!r} has no tokenizer, and method='generate' scores text. Use "
            "method='argmax'."
        )


def n_new_tokens(method: str, max_new_tokens: int) -> int:
    """How many tokens a method continues prompts by."""
    return 1 if method == "argmax" else max_new_tokens


def answer_texts(model, rows: Sequence[Tensor], tokens: Tensor) -> tuple[str, ...]:
    """New tokens as text; numbers where there is no tokenizer."""
    if model.tokenizer is None:
        return tuple(
            " ".join(token_labels(model, [i for i in row if i != NOTHING]))
            for row in tokens.tolist()
        )
    return tuple(completions(model.tokenizer, rows, tokens))


def names_answer(
    task: TwoHopTask, label: str, texts: Sequence[str], tokens: Tensor, method: str, of: Tensor
) -> np.ndarray:
    """Whether each answer names what the query ``of [prompt]`` asks for, ``[prompt]``."""
    targets = task.text_targets(label)
    ids = task.bridge_ids if label == FIRST_HOP else task.answer_ids
    first = tokens[:, 0].tolist()
    return np.array(
        [
            first[i] in ids[j] if method == "argmax" else task.said(targets[j], texts[i])
            for i, j in enumerate(of.tolist())
        ]
    )


def ask(
    model, task: TwoHopTask, label: str, *, method: str, max_new_tokens: int, steps: Steps
) -> Answers:
    """A model's answers to one of ``LABELS``; counts as many steps as there are queries."""
    rows = task.tokens_of(label)
    ids = task.bridge_ids if label == FIRST_HOP else task.answer_ids
    found = run_rows(
        model,
        rows,
        [names[0] for names in ids],
        n_new=n_new_tokens(method, max_new_tokens),
        **steps.call(f"answers-{label}", len(task)),
    )
    texts = answer_texts(model, rows, found.tokens)
    own = torch.arange(len(task))
    right, control = (
        names_answer(task, label, texts, found.tokens, method, of) for of in (own, task.partners)
    )
    return Answers(found.tokens, texts, found.log_prob, right, control)


def ask_all(
    model, task: TwoHopTask, *, method: str, max_new_tokens: int, steps: Steps
) -> dict[str, Answers]:
    """A model's answers to all five questions; counts ``5 * len(task)`` steps."""
    options = {"method": method, "max_new_tokens": max_new_tokens, "steps": steps}
    return {label: ask(model, task, label, **options) for label in LABELS}


def set_names(right: dict[str, np.ndarray]) -> np.ndarray:
    """The set of each query, as text ``[prompt]``.

    Source: Biran et al. 2024: both hops right, both shortcuts wrong; the composition decides.
    """
    hops = right[FIRST_HOP] & right[SECOND_HOP]
    usable = hops & ~right[ENTITY_SHORTCUT] & ~right[RELATION_SHORTCUT]
    composed = np.where(right[COMPOSITION], CORRECT, INCORRECT)
    return np.where(usable, composed, NEITHER)


def bridge_kinds(task: TwoHopTask, cap: int | None, cap_by: str) -> list[str]:
    """What a cap counts for each query: its bridge ("e2"), or the type of that ("e2_type").

    Raises:
        TaskError: an unknown ``cap_by``, a cap below 1, or one by types that no query has.
    """
    if cap_by not in CAPS or (cap is not None and cap < 1):
        raise TaskError(f"cap={cap} and cap_by={cap_by!r}: give a cap of at least 1, by {CAPS}.")
    kinds = [q.e2.name if cap_by == "e2" else q.e2_type for q in task.queries]
    if cap is not None and not any(kinds):
        raise TaskError("No query says what type its bridge is of: use cap_by='e2'.")
    return kinds


def within_cap(sets: np.ndarray, kinds: Sequence[str], cap: int | None, seed: int) -> np.ndarray:
    """Which queries stay when at most ``cap`` of each kind do in each set, drawn by the seed."""
    kept = np.ones(len(sets), dtype=bool)
    if cap is None:
        return kept
    counts: Counter[tuple[str, str]] = Counter()
    for i in np.random.default_rng(seed).permutation(len(sets)):
        key = (str(sets[i]), kinds[int(i)])
        counts[key] += 1
        kept[i] = counts[key] <= cap
    return kept
