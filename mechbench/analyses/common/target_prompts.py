"""Prompts that states are written into, and where."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mechbench.errors import TaskError, TokenizerError
from mechbench.interventions.patchscope import Target
from mechbench.tasks.base import Task
from mechbench.tasks.tokens import pieces, text_ids
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION, SECOND_HOP, Entity, prompt_text

DESCRIPTION, REPEAT, WORDS, LENS = "description", "repeat", "words", "lens"
PROMPTS = {
    DESCRIPTION: (
        "Syria: Syria is a country in the Middle East, Leonardo DiCaprio: Leonardo DiCaprio is an "
        "American actor, Samsung: Samsung is a South Korean multinational corporation, x"
    ),
    REPEAT: "Syria: Syria, Leonardo DiCaprio: Leonardo DiCaprio, Samsung: Samsung, x",
}
"""Target prompts; the placeholder is their last token. Source: Ghandeharioun et al. 2024."""
OF_QUERIES = (WORDS, SECOND_HOP, COMPOSITION)
"""Target prompts that are made of a two-hop task."""

_PLACEHOLDER = "x"
_REPLACED = {SECOND_HOP: "e2", COMPOSITION: "e1"}


def target_of(model, task: Task, prompt: str, layers: Sequence[int]) -> Target:
    """The target prompt as ids, BOS first, and where its placeholder is.

    ``words`` repeats three entities of a two-hop task (``a : a , b : b , c : c , x :``);
    ``second_hop`` and ``composition`` are the query's own prompts with the placeholder for e2 and
    for e1; ``lens`` is no prompt: the state is written after the last block and read at once.

    Raises:
        TaskError: too few entities, another task than two-hop queries for a prompt that is made of
            them, or a text whose placeholder is no token of its own.
        TokenizerError: text without a tokenizer.
    """
    if prompt == LENS:
        last = model.cfg.n_layers - 1
        return Target(prompts=[task.clean[0, :1]], positions=[0], layers=[last])
    if model.tokenizer is None:
        raise TokenizerError(
            f"{model.cfg.model_name!r} has no tokenizer for the prompt {prompt!r}: use 'lens'."
        )
    texts, placeholder = _texts(model.tokenizer, task, prompt)
    found = [_placed(model.tokenizer, text, placeholder) for text in texts]
    return Target(
        prompts=[ids for ids, _ in found],
        positions=[position for _, position in found],
        layers=list(layers),
    )


def _texts(tokenizer: Any, task: Task, prompt: str) -> tuple[list[str], str]:
    """The texts of a prompt, one or one for each query, and the word for the state."""
    if prompt not in OF_QUERIES:
        return [PROMPTS.get(prompt, prompt)], _PLACEHOLDER
    if not isinstance(task, TwoHopTask):
        raise TaskError(
            f"The target prompt {prompt!r} is made of two-hop queries, not {task.name!r}."
        )
    names = sorted({entity.name for q in task.queries for entity in (q.e1, q.e2, q.e3)})
    if len(names) < 4:
        raise TaskError(
            f"The target prompt {prompt!r} needs 4 entities, and there are {len(names)}."
        )
    if prompt == WORDS:
        *shown, placeholder = names[:4]
        text = " ".join([*(f"{name} : {name} ," for name in shown), placeholder, ":"])
        return [text], placeholder
    letter = _word(tokenizer, _PLACEHOLDER)  # worlds of words have no letters
    placeholder = names[0] if letter is None else _PLACEHOLDER
    queries = [replace(q, **{_REPLACED[prompt]: Entity(placeholder)}) for q in task.queries]
    return [prompt_text(query, prompt, task.templates) for query in queries], placeholder


def _word(tokenizer: Any, word: str) -> int | None:
    """The token of a word with a space before it; None where it is not one known token."""
    ids = text_ids(tokenizer, f" {word}")
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def _placed(tokenizer: Any, text: str, placeholder: str) -> tuple[Tensor, int]:
    """Ids of a text, BOS first, and where its last placeholder is."""
    ids = text_ids(tokenizer, text)
    wanted = _word(tokenizer, placeholder)
    places = [i for i, token in enumerate(ids) if token == wanted]
    if not places:
        raise TaskError(
            f"The target prompt {text!r} has no token ' {placeholder}' to write states at: "
            f"{pieces(tokenizer, ids)}. Put ' {placeholder}' where the state belongs."
        )
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return torch.tensor([*bos, *ids]), len(bos) + places[-1]
