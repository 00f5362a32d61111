"""Indirect object identification: ``Then Anna and Mark ... Mark gave a book to`` -> ``Anna``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from string import Formatter
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.tasks.acronym_words import pick_other
from mechbench.tasks.ioi_texts import NAMES, PLACES, TEMPLATES, THINGS
from mechbench.tasks.metrics import LogitDifference, logit_difference
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.seeds import seeded
from mechbench.tasks.tokens import (
    bos_id,
    continuation_ids,
    pieces,
    text_ids,
    texts_ids,
    tokenizer_facts,
)

CORRUPTIONS = ("abc", "swapped")
_FIELDS = {"A", "B", "S", "place", "thing"}
_MIN_NAMES = 5  # two of a prompt and three others for the abc corruption
_BEFORE = "Then"  # fillers are measured after a word, because they stand after one


@dataclass(frozen=True, kw_only=True, eq=False)
class IOITask:
    """Prompts with an indirect object IO and a subject S that occurs twice.

    Attributes:
        clean: token ids ``[prompt pos]``.
        io, subject: token ids of the two names, ``[prompt]``.
        spans: positions of ``IO``, ``S1``, ``S2`` and ``END``, ``[prompt]`` each.
        names: token ids of all usable names.
        source: JSON-able provenance.
    """

    clean: Tensor
    io: Tensor
    subject: Tensor
    spans: Mapping[str, Tensor]
    names: Tensor
    source: Mapping[str, Any]
    name: str = "ioi"
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.clean)

    def pairs(self, corruption: str = "abc", *, seed: int = 0) -> PromptPairs:
        """Clean prompts and one corruption.

        Args:
            corruption: ``"abc"`` puts three other, different names at IO, S1 and S2;
                ``"swapped"`` puts the name of IO at S2, so that the two names swap roles and the
                answer would be the other one.
            seed: of the other names.

        Raises:
            TaskError: an unknown corruption.

        Source: Wang et al. 2022 for ``"abc"``.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        rows = torch.arange(len(self))
        corrupt = self.clean.clone()
        if corruption == "swapped":
            corrupt[rows, self.spans["S2"]] = self.io
        else:
            rng = seeded(seed, 1)
            names = self.names.numpy()
            used = torch.stack([self.io, self.subject], 1).numpy()
            for label in ("IO", "S1", "S2"):
                drawn = names[pick_other(rng, names, used)]
                used = np.concatenate([used, drawn[:, None]], axis=1)
                corrupt[rows, self.spans[label]] = torch.from_numpy(drawn)
        return self._pairs(corrupt, {"corruption": corruption, "corruption_seed": seed})

    def metric(self) -> LogitDifference:
        """Logit of IO minus logit of S at END, in logits; positive favours the right name.

        Source: Wang et al. 2022.
        """
        return logit_difference(self._pairs(self.clean, {}), self.subject[:, None, None])

    def _pairs(self, corrupt: Tensor, facts: Mapping[str, Any]) -> PromptPairs:
        labels = [str(i) for i in range(self.clean.shape[1])]
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=corrupt,
            answer_positions=self.spans["END"][:, None],
            answers=self.io[:, None],
            position_labels=tuple(labels),
            answer_labels=("IO",),
            spans=self.spans,
            source={**self.source, **facts},
        )


def ioi(
    tokenizer: Any,
    n: int = 64,
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
    bos: bool = True,
) -> IOITask:
    """IOI prompts, half of them ABBA (IO is named first) and half BABA, all of one length.

    Of the templates, those of the token length that most of them have are used; of places and
    things likewise; of names those that are one token with their space.

    Args:
        tokenizer: Hugging Face's interface, e.g. ``model.tokenizer``.
        n: number of prompts.
        seed: the same seed gives the same prompts.
        names: capitalised names; our own list by default.
        templates: texts with ``{A}``, ``{B}`` and then ``{S}``, once each and after a space, and
            optionally ``{place}`` and ``{thing}``; our own list by default.
        bos: whether BOS stands at position 0.

    Raises:
        TaskError: ``n`` below 1, fewer than five single-token names, or a template without its
            fields.
        TokenizerError: no BOS token, or a name is split differently inside a prompt.

    Source: Wang et al. 2022 for the task; names, templates and fillers are our own.
    """
    if n < 1:
        raise TaskError(f"ioi needs n of at least 1, got {n}.")
    bos_ids = [bos_id(tokenizer)] if bos else []
    given = sorted(set(NAMES if names is None else names))
    usable = _same_length(tokenizer, given, length=1)
    if len(usable) < _MIN_NAMES:
        shown = {name: pieces(tokenizer, text_ids(tokenizer, f" {name}")) for name in given[:5]}
        raise TaskError(
            f"ioi needs at least {_MIN_NAMES} names that are one token with their space, and this "
            f"tokenizer has {len(usable)} of {len(given)}; it splits {shown}. Give names=[...]."
        )
    fillers = {"place": _same_length(tokenizer, PLACES), "thing": _same_length(tokenizer, THINGS)}
    chosen = _one_length_templates(tokenizer, templates or TEMPLATES, usable, fillers)
    rng = seeded(seed, n)
    texts, io, subject = _draw_texts(rng, n, chosen, usable, fillers)
    rows = texts_ids(tokenizer, texts)
    if len({len(row) for row in rows}) > 1:
        raise TokenizerError("The names change how the tokenizer splits the templates.")
    clean = torch.tensor([bos_ids + row for row in rows])
    found = continuation_ids(tokenizer, _BEFORE, [f" {name}" for name in usable])
    ids = torch.tensor([row[0] for row in found if row])
    spans = _name_spans(clean, ids[io], ids[subject], texts)
    return IOITask(
        clean=clean,
        io=ids[io],
        subject=ids[subject],
        spans=spans,
        names=ids,
        source={
            "generator": "ioi",
            "n": n,
            "seed": seed,
            "tokenizer": tokenizer_facts(tokenizer),
            "templates": list(chosen),
            "names": len(usable),
            "orders": {
                "ABBA": int((spans["IO"] < spans["S1"]).sum()),
                "BABA": int((spans["IO"] > spans["S1"]).sum()),
            },
            "prompts_sha256": sha256(clean.numpy().astype("<i8").tobytes()).hexdigest(),
        },
    )


def _same_length(tokenizer: Any, words: Sequence[str], length: int | None = None) -> list[str]:
    """The words of ``length`` tokens with their space, or of the length that most have."""
    rows = continuation_ids(tokenizer, _BEFORE, [f" {word}" for word in words])
    lengths = [len(row) if row else 0 for row in rows]
    wanted = length or max(sorted(set(lengths)), key=lengths.count)
    return [word for word, n in zip(words, lengths, strict=True) if n == wanted]


def _one_length_templates(
    tokenizer: Any,
    templates: Sequence[str],
    names: Sequence[str],
    fillers: Mapping[str, Sequence[str]],
) -> list[str]:
    example = {"A": names[0], "B": names[1], "S": names[0]}
    example |= {field: words[0] for field, words in fillers.items()}
    for template in templates:
        _require_fields(template)
    lengths = [len(row) for row in texts_ids(tokenizer, [t.format_map(example) for t in templates])]
    wanted = max(sorted(set(lengths)), key=lengths.count)
    return [t for t, length in zip(templates, lengths, strict=True) if length == wanted]


def _require_fields(template: str) -> None:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise TaskError(f"The template {template!r} cannot be read: {error}.") from None
    names = [field for field in fields if field in ("A", "B", "S")]
    spaced = all(f" {{{field}}}" in template for field in names)
    unknown = set(fields) - _FIELDS
    in_order = names in (["A", "B", "S"], ["B", "A", "S"])
    if unknown or not in_order or not spaced or template != template.strip():
        raise TaskError(
            f"The template {template!r} must hold {{A}} and {{B}}, then {{S}}, once each and after "
            "a space, besides them only {place} and {thing}, and must not end in a space."
        )


def _draw_texts(
    rng: Generator,
    n: int,
    templates: Sequence[str],
    names: Sequence[str],
    fillers: Mapping[str, Sequence[str]],
) -> tuple[list[str], Tensor, Tensor]:
    """Texts, and the indices of IO and S among the names."""
    index = np.arange(len(names))
    io = rng.integers(len(names), size=n)
    subject = pick_other(rng, index, io[:, None])
    io_first = rng.permutation(n) % 2 == 0
    first, second = np.where(io_first, io, subject), np.where(io_first, subject, io)
    texts = []
    for a, b, s in zip(first.tolist(), second.tolist(), subject.tolist(), strict=True):
        fields = {"A": names[a], "B": names[b], "S": names[s]}
        fields |= {field: words[int(rng.integers(len(words)))] for field, words in fillers.items()}
        texts.append(templates[int(rng.integers(len(templates)))].format_map(fields))
    return texts, torch.from_numpy(io), torch.from_numpy(subject)


def _name_spans(
    clean: Tensor, io: Tensor, subject: Tensor, texts: Sequence[str]
) -> dict[str, Tensor]:
    is_io, is_subject = clean == io[:, None], clean == subject[:, None]
    wrong = (is_io.sum(1) != 1) | (is_subject.sum(1) != 2)
    if wrong.any():
        text = texts[int(wrong.nonzero()[0])]
        raise TokenizerError(
            f"In {text!r} one name must be found once and the other twice as single tokens, and "
            "the tokenizer splits them differently there. Give other names or templates."
        )
    last = clean.shape[1] - 1
    return {
        "IO": is_io.int().argmax(1),
        "S1": is_subject.int().argmax(1),
        "S2": last - is_subject.flip(1).int().argmax(1),
        "END": torch.full((len(clean),), last),
    }
