"""Two-hop queries as token ids, with every position found from character offsets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mechbench.errors import TokenizerError
from mechbench.tasks.prompt_rows import BadRow
from mechbench.tasks.tokens import continuation_ids, pieces, texts_ids
from mechbench.tasks.two_hop_texts import (
    COMPOSITION,
    LABELS,
    SPANS,
    Entity,
    SpannedText,
    Templates,
    TwoHopQuery,
    main_prompt,
    prompt_text,
)


@dataclass(frozen=True)
class QueryTokens:
    """One query ready to run, BOS included in ids and positions.

    Attributes:
        prompts: ids of the prompt of each of ``LABELS``.
        spans: the last token of each of ``SPANS``.
        answer_ids, bridge_ids: first tokens of the names of e3 and of e2 as they go on the main
            prompt, that of the name itself first.
    """

    query: TwoHopQuery
    prompts: dict[str, tuple[int, ...]]
    spans: dict[str, int]
    answer_ids: tuple[int, ...]
    bridge_ids: tuple[int, ...]


def query_tokens(
    tokenizer: Any,
    queries: Sequence[tuple[str, TwoHopQuery]],
    templates: Templates,
    bos: Sequence[int],
) -> list[QueryTokens | BadRow]:
    """Each query, named by where it is from, as tokens; or why it cannot be.

    Raises:
        TokenizerError: a tokenizer that does not tell character offsets.
    """
    check_offsets(tokenizer)
    texts = {
        label: [prompt_text(query, label, templates) for _, query in queries] for label in LABELS
    }
    ids = {label: texts_ids(tokenizer, texts[label]) for label in LABELS}
    offsets = _offsets(tokenizer, texts[COMPOSITION])
    found: list[QueryTokens | BadRow] = []
    for i, (where, query) in enumerate(queries):
        try:
            spans = _spans(
                tokenizer, main_prompt(query, templates), ids[COMPOSITION][i], offsets[i]
            )
            answer_ids = first_tokens(tokenizer, texts[COMPOSITION][i], query.e3)
            bridge_ids = first_tokens(tokenizer, texts[COMPOSITION][i], query.e2)
        except TokenizerError as error:
            found.append(BadRow(where, str(error)))
            continue
        found.append(
            QueryTokens(
                query=query,
                prompts={label: (*bos, *ids[label][i]) for label in LABELS},
                spans={name: len(bos) + at for name, at in spans.items()},
                answer_ids=answer_ids,
                bridge_ids=bridge_ids,
            )
        )
    return found


def check_offsets(tokenizer: Any) -> None:
    """Raises TokenizerError where a tokenizer does not tell which characters its tokens cover."""
    if not tokenizer.is_fast:
        raise TokenizerError(
            f"The tokenizer {type(tokenizer).__name__} does not tell which characters a token "
            "covers, which the spans of two-hop queries are found from. Use a fast tokenizer "
            "(tokenizer.json)."
        )


def first_tokens(tokenizer: Any, prompt: str, entity: Entity) -> tuple[int, ...]:
    """The first token of each name of an entity as it goes on a prompt, without repeats.

    Raises:
        TokenizerError: the name changes how the prompt is split.
    """
    rows = continuation_ids(tokenizer, prompt, [f" {name}" for name in entity.names])
    if not rows[0]:
        raise TokenizerError(f"{entity.name!r} changes how the prompt {prompt!r} is split")
    return _distinct(row[0] for row in rows if row)


def name_tokens(tokenizer: Any, entity: Entity) -> tuple[int, ...]:
    """The first token of each name, also in lower case, each with and without a space before it.

    Source: Biran et al. 2024, read in their released code; there for every tokenizer but Llama
    2's.
    """
    names = [n for name in entity.names for n in (name, name.lower())]
    rows = texts_ids(tokenizer, [*names, *(f" {name}" for name in names)])
    return _distinct(row[0] for row in rows if row)


def _distinct(ids: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(ids))


def _offsets(tokenizer: Any, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    split = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    return split["offset_mapping"]


def _spans(
    tokenizer: Any, prompt: SpannedText, ids: Sequence[int], offsets: Sequence[tuple[int, int]]
) -> dict[str, int]:
    return {name: _last_token(tokenizer, prompt, name, ids, offsets) for name in SPANS}


def _last_token(
    tokenizer: Any,
    prompt: SpannedText,
    name: str,
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
) -> int:
    """The last token of a span, which must begin and end where tokens do."""
    start, end = prompt.spans[name]
    space = start - 1 if prompt.text[start - 1 : start] == " " else start
    begins = any(first in (start, space) and last > start for first, last in offsets)
    ends = [i for i, (_, last) in enumerate(offsets) if last == end]
    if not (begins and ends and end > start):
        raise TokenizerError(
            f"the span {name} ({prompt.text[start:end]!r}) of {prompt.text!r} is not made of whole "
            f"tokens: {pieces(tokenizer, ids)}"
        )
    return ends[-1]
