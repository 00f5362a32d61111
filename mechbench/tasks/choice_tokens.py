"""Multiple-choice prompts as text and tokens, and where their labels and options stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mechbench.errors import TokenizerError
from mechbench.tasks.choice_items import ChoiceItem, shortened
from mechbench.tasks.tokens import continuation_ids, pieces, text_ids

_END = "Answer:"
_CLOSED = ("?", ".", "!", ":", "…")


@dataclass(frozen=True)
class ChoicePrompt:
    """A prompt as text; a span is the first character and the one after the last.

    Attributes:
        labels, options: spans, one per option, without the spaces around them.
    """

    text: str
    labels: tuple[tuple[int, int], ...]
    options: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ChoiceTokens:
    """A prompt as token ids, BOS first.

    Attributes:
        label_positions: of the label among the choices, one per option.
        option_positions: of the last token of the option's text, one per option.
    """

    ids: list[int]
    label_positions: list[int]
    option_positions: list[int]


class _Misfit(Exception):
    """Why a prompt's tokens do not fit."""


def choice_prompt(item: ChoiceItem, labels: Sequence[str]) -> ChoicePrompt:
    """The item as ``Question: ...? Answer Choices: A: ... B: ... Answer:``.

    A question that ends without a sentence's end gets a question mark.

    Source: the prompt of Li and Gao 2025; what happens to other ends is our choice.
    """
    question = " ".join(item.question.split())
    text = f"Question: {question}{'' if question.endswith(_CLOSED) else '?'} Answer Choices:"
    label_spans, option_spans = [], []
    for label, option in zip(labels, item.options, strict=False):
        option = " ".join(option.split())
        start = len(text) + 1
        label_spans.append((start, start + len(label)))
        text += f" {label}: {option}"
        option_spans.append((len(text) - len(option), len(text)))
    return ChoicePrompt(f"{text} {_END}", tuple(label_spans), tuple(option_spans))


def label_token_ids(tokenizer: Any, labels: Sequence[str]) -> list[int]:
    """The ids of the labels as they follow a prompt, each with the space before it.

    Raises:
        TokenizerError: a label that is not one token there, or two that are the same.
    """
    found = continuation_ids(tokenizer, _END, [f" {label}" for label in labels])
    for label, ids in zip(labels, found, strict=True):
        if ids is None or len(ids) != 1:
            shown = pieces(tokenizer, text_ids(tokenizer, f"{_END} {label}"))
            raise TokenizerError(
                f"The label {label!r} must be one token after {_END!r}, and this tokenizer makes "
                f"{shown} of {f'{_END} {label}'!r}. Use other labels."
            )
    ids = [row[0] for row in found if row]
    if len(set(ids)) < len(ids):
        raise TokenizerError(
            f"The labels {list(labels)} are not all different tokens: {pieces(tokenizer, ids)}."
        )
    return ids


def choice_tokens(
    tokenizer: Any,
    items: Sequence[ChoiceItem],
    labels: Sequence[str],
    label_ids: Sequence[int],
    bos: int,
) -> list[ChoiceTokens | str]:
    """Each item as tokens, or why it does not fit; positions are found from character offsets.

    Raises:
        TokenizerError: a tokenizer that does not tell offsets.
    """
    if not tokenizer.is_fast:
        raise TokenizerError(
            "Multiple-choice prompts need the character offsets of tokens, which this tokenizer "
            f"({type(tokenizer).__name__}) does not tell. Load the fast one (tokenizer.json)."
        )
    prompts = [choice_prompt(item, labels) for item in items]
    split = tokenizer(
        [prompt.text for prompt in prompts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    found: list[ChoiceTokens | str] = []
    for item, prompt, ids, offsets in zip(
        items, prompts, split["input_ids"], split["offset_mapping"], strict=True
    ):
        try:
            _no_label_as_option(item, labels)
            found.append(_located(tokenizer, prompt, list(ids), offsets, label_ids, bos))
        except _Misfit as problem:
            found.append(str(problem))
    return found


def _no_label_as_option(item: ChoiceItem, labels: Sequence[str]) -> None:
    """A text that is also a label would make the answer ambiguous."""
    known = {label.casefold() for label in labels[: len(item.options)]}
    for option in item.options:
        if option.strip().casefold() in known:
            raise _Misfit(
                f"options collide: the option {option!r} is also a label of "
                f"{list(labels[: len(item.options)])}; use other labels"
            )


def _located(
    tokenizer: Any,
    prompt: ChoicePrompt,
    ids: list[int],
    offsets: Sequence[tuple[int, int]],
    label_ids: Sequence[int],
    bos: int,
) -> ChoiceTokens:
    at_labels, at_options = [], []
    for i, ((start, end), (first, last)) in enumerate(
        zip(prompt.labels, prompt.options, strict=True)
    ):
        position = _token_at(offsets, start)
        if ids[position] != label_ids[i]:
            raise _Misfit(
                f"the label {prompt.text[start:end]!r} is not its own token in the prompt: "
                f"{_around(tokenizer, ids, position)}"
            )
        at_labels.append(position + 1)
        position = _token_at(offsets, last - 1)
        if offsets[position][1] > last:
            raise _Misfit(
                f"the option {shortened(prompt.text[first:last])!r} does not end with a token: "
                f"{_around(tokenizer, ids, position)}"
            )
        at_options.append(position + 1)
    return ChoiceTokens([bos, *ids], at_labels, at_options)


def _token_at(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """The last token that covers a character; several tokens may share one of several bytes."""
    covering = [i for i, (start, end) in enumerate(offsets) if start <= character < end]
    if not covering:
        raise _Misfit(f"no token covers character {character} of the prompt")
    return covering[-1]


def _around(tokenizer: Any, ids: Sequence[int], position: int) -> list[str]:
    return pieces(tokenizer, ids[max(position - 3, 0) : position + 4])
