"""Questions that tasks ask of a tokenizer (Hugging Face's interface)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mechbench.errors import TokenizerError


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text, with no special token added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def texts_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The ids of many texts, with no special token added."""
    if not texts:
        return []
    split = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
    return split["input_ids"]


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """One string per id, for messages; the token's own name where decoding drops its space."""
    return [tokenizer.decode([i]) or tokenizer.convert_ids_to_tokens(i) for i in ids]


def continuation_ids(tokenizer: Any, start: str, ends: Sequence[str]) -> list[list[int] | None]:
    """The ids that each end adds to the start of a text; None where the start is split anew."""
    base = text_ids(tokenizer, start)
    rows = texts_ids(tokenizer, [start + end for end in ends])
    n = len(base)
    return [row[n:] if row[:n] == base else None for row in rows]


def bos_id(tokenizer: Any) -> int:
    """The id of the BOS token.

    Raises:
        TokenizerError: the tokenizer is missing, or has no BOS token.
    """
    if tokenizer is None:
        raise TokenizerError(
            "This task needs a tokenizer and got None. Load the model from a folder that holds "
            "tokenizer.json, or pass a tokenizer."
        )
    if tokenizer.bos_token_id is None:
        raise TokenizerError(
            "The tokenizer has no BOS token, and this task puts one at position 0. Set "
            "tokenizer.bos_token to the token that texts begin with."
        )
    return tokenizer.bos_token_id


def tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    """What provenance says about a tokenizer: its name (never a path) and its size."""
    return {"name": Path(tokenizer.name_or_path or "").name, "size": len(tokenizer)}
