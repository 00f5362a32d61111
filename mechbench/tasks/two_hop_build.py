"""From queries to the task on them."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.prompt_rows import BadRow, raise_bad_rows
from mechbench.tasks.tokens import bos_id, tokenizer_facts
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import (
    COMPOSITION,
    ENGLISH,
    LABELS,
    SPANS,
    Templates,
    TwoHopQuery,
)
from mechbench.tasks.two_hop_tokens import QueryTokens, query_tokens


def two_hop_task(
    tokenizer: Any,
    queries: Sequence[TwoHopQuery],
    *,
    templates: Templates = ENGLISH,
    bos: bool = True,
    source: Mapping[str, Any] | None = None,
) -> TwoHopTask:
    """The task on given queries.

    Args:
        tokenizer: a fast one of Hugging Face's interface, e.g. ``model.tokenizer``.
        bos: whether BOS stands at position 0.
        source: what provenance says of the queries.

    Raises:
        TaskError: no queries, or queries whose spans are not whole tokens (they are shown).
        TokenizerError: no BOS token, or a tokenizer that tells no offsets.
    """
    named = [(f"query {i}", query) for i, query in enumerate(queries)]
    source = source or {"generator": "queries"}
    return tokenized(tokenizer, named, templates, bos, source, "refuse", "two_hop")


def tokenized(
    tokenizer: Any,
    queries: Sequence[tuple[str, TwoHopQuery]],
    templates: Templates,
    bos: bool,
    source: Mapping[str, Any],
    bad_rows: str,
    name: str,
    already_bad: Sequence[BadRow] = (),
) -> TwoHopTask:
    """The task on queries named by where they are from; bad ones are refused or left out."""
    bos_ids = [bos_id(tokenizer)] if bos else []
    found = query_tokens(tokenizer, queries, templates, bos_ids) if queries else []
    bad = [*already_bad, *(row for row in found if isinstance(row, BadRow))]
    good = [row for row in found if isinstance(row, QueryTokens)]
    if bad_rows == "refuse" or not good:
        title = str(source.get("file", "the queries"))
        raise_bad_rows(title, bad, len(queries) + len(already_bad))
    if not good:
        raise TaskError("There are no queries: give at least one.")
    fill = bos_id(tokenizer) if bos else _filler(tokenizer)
    clean = _padded([row.prompts[COMPOSITION] for row in good], fill)
    return TwoHopTask(
        name=name,
        queries=tuple(row.query for row in good),
        templates=templates,
        clean=clean,
        spans={name: torch.tensor([row.spans[name] for row in good]) for name in SPANS},
        answers=torch.tensor([row.answer_ids[:1] for row in good]),
        answer_ids=tuple(row.answer_ids for row in good),
        bridge_ids=tuple(row.bridge_ids for row in good),
        label_tokens={
            label: tuple(torch.tensor(row.prompts[label]) for row in good) for label in LABELS
        },
        source={
            **source,
            "n": len(good),
            "left_out": len(bad),
            "templates": vars(templates),
            "tokenizer": tokenizer_facts(tokenizer),
            "prompts_sha256": sha256(clean.numpy().astype("<i8").tobytes()).hexdigest(),
        },
    )


def _filler(tokenizer: Any) -> int:
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((i for i in ids if i is not None), 0)


def _padded(rows: Sequence[tuple[int, ...]], fill: int) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])
