"""Tokens as text for axes, and sets of tokens that a circuit is read on."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from mechbench.errors import TaskError


def token_labels(model, ids: Sequence[int]) -> list[str]:
    """One label per id, all different for different ids; ``#7`` where there is no tokenizer.

    Characters without ink of their own are escaped, except the space.
    """
    ids = [int(i) for i in ids]
    if model.tokenizer is None:
        return [f"#{i}" for i in ids]
    texts = [_escaped(model.tokenizer.decode([i])) for i in ids]
    owners = Counter(text for text, _ in set(zip(texts, ids, strict=True)))
    return [
        f"{text} #{i}" if owners[text] > 1 or not text else text
        for text, i in zip(texts, ids, strict=True)
    ]


def chosen_tokens(model, task, tokens: Sequence[str | int] | None, most: int) -> list[int]:
    """The ids that were given (text must be one token), or the task's answers, most frequent first.

    Raises:
        TaskError: no token, a token named twice, or an id outside the vocabulary.
        TokenizerError: text that is not one token.
    """
    if tokens is None:
        answers = task.pairs().answers
        ids, counts = answers.unique(return_counts=True)
        strongest = counts.argsort(descending=True, stable=True)[:most]
        return ids[strongest.sort().values].tolist()
    chosen = [model.to_single_token(t) if isinstance(t, str) else int(t) for t in tokens]
    outside = [i for i in chosen if not 0 <= i < model.cfg.d_vocab]
    if not chosen or outside or len(set(chosen)) < len(chosen):
        raise TaskError(
            f"tokens={list(tokens)} must name each token once, and at least one of 0.."
            f"{model.cfg.d_vocab - 1}."
        )
    return chosen


def random_tokens(d_vocab: int, n: int, seed: int) -> Tensor:
    """``n`` different ids of the vocabulary, or all of them, in order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(d_vocab, generator=generator)[:n].sort().values


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
