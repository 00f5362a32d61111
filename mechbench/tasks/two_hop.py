"""Two-hop queries: ``the spouse of the performer of Imagine is`` -> Yoko Ono."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.metrics import (
    AnswerLogProb,
    LogitDifference,
    answer_log_prob,
    logit_difference,
)
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.two_hop_partners import partners
from mechbench.tasks.two_hop_texts import (
    COMPOSITION,
    LABELS,
    Entity,
    Templates,
    TwoHopQuery,
    label_target,
    prompt_text,
    said,
)

CORRUPTIONS = ("other_query",)
KINDS = ("log_prob", "logit_diff")


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoHopTask:
    """Queries whose main prompts need two facts, and the prompts of the five labels.

    Attributes:
        queries: in the order of the prompts.
        templates: how they became prompts.
        clean: token ids of the main prompts ``[prompt pos]``, BOS first; shorter ones are filled
            up on the right, where nothing is read.
        spans: position of the last token of ``t1`` (the phrase of the first hop), ``t2`` (the
            prompt), ``e1``, ``r1`` and ``r2`` (the relations' last words), ``[prompt]`` each.
        answers: the first token of e3's name as it goes on the prompt, ``[prompt 1]``.
        answer_ids, bridge_ids: the same of every name of e3 and of e2, per prompt.
        label_tokens: ids of the prompts of each of ``LABELS``.
        source: JSON-able provenance.
    """

    queries: tuple[TwoHopQuery, ...]
    templates: Templates
    clean: Tensor
    spans: Mapping[str, Tensor]
    answers: Tensor
    answer_ids: tuple[tuple[int, ...], ...]
    bridge_ids: tuple[tuple[int, ...], ...]
    label_tokens: Mapping[str, tuple[Tensor, ...]]
    source: Mapping[str, Any]
    name: str = "two_hop"
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def t1(self) -> Tensor:
        """Where the first hop's phrase ends, ``[prompt]``."""
        return self.spans["t1"]

    @property
    def t2(self) -> Tensor:
        """The last token of each prompt, which predicts the answer, ``[prompt]``."""
        return self.spans["t2"]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each main prompt, BOS included, ``[prompt]``."""
        return self.t2 + 1

    @property
    def kinds(self) -> tuple[str, ...]:
        """The set of each query."""
        return tuple(query.kind for query in self.queries)

    def texts(self, label: str = COMPOSITION) -> tuple[str, ...]:
        """The prompts of one of ``LABELS``, as text.

        Raises:
            TaskError: an unknown label.
        """
        _check_label(label)
        return tuple(prompt_text(query, label, self.templates) for query in self.queries)

    def text_targets(self, label: str = COMPOSITION) -> tuple[Entity, ...]:
        """The entity that each prompt of a label asks for: e2 for the first hop, else e3.

        Raises:
            TaskError: an unknown label.
        """
        _check_label(label)
        return tuple(label_target(query, label) for query in self.queries)

    def tokens_of(self, label: str = COMPOSITION) -> tuple[Tensor, ...]:
        """The prompts of a label as ids ``[pos]``, BOS first, unpadded.

        Raises:
            TaskError: an unknown label.
        """
        _check_label(label)
        return self.label_tokens[label]

    def said(self, entity: Entity, completion: str) -> bool:
        """Whether a completion names an entity; see ``two_hop_texts.said``."""
        return said(entity, completion)

    def select(self, indices: Sequence[int] | Tensor) -> "TwoHopTask":
        """Some of the queries, in this order, padded no further than they need.

        Raises:
            TaskError: no query, or an index that there is not.
        """
        chosen = [int(i) for i in indices]
        wrong = [i for i in chosen if not 0 <= i < len(self)]
        if wrong or not chosen:
            raise TaskError(
                f"Queries {wrong or chosen} cannot be selected: name some of 0..{len(self) - 1}."
            )
        at = torch.tensor(chosen)
        return replace(
            self,
            queries=_picked(self.queries, chosen),
            clean=self.clean[at, : int(self.lengths[at].max())],
            spans={name: where[at] for name, where in self.spans.items()},
            answers=self.answers[at],
            answer_ids=_picked(self.answer_ids, chosen),
            bridge_ids=_picked(self.bridge_ids, chosen),
            label_tokens={k: _picked(rows, chosen) for k, rows in self.label_tokens.items()},
            source={**self.source, "n": len(chosen), "selected": _digest(chosen)},
        )

    @cached_property
    def partners(self) -> Tensor:
        """Another query for each, ``[prompt]``: with other entities, and laid out alike if any is.

        Raises:
            TaskError: a query for which no other one has another answer.
        """
        return partners(self.queries, self.answers[:, 0], self.t1, self.t2)

    def pairs(self, corruption: str = "other_query") -> PromptPairs:
        """Main prompts, and those of other queries with other answers.

        Where no other query has the same ``t1`` and ``t2``, the corrupted prompt is laid out
        otherwise; ``source`` counts these, and says ``other_layout``.

        Raises:
            TaskError: an unknown corruption, or a query without a partner.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        other = self.partners
        alike = (self.t1[other] == self.t1) & (self.t2[other] == self.t2)
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=self.clean[other],
            answer_positions=self.t2[:, None],
            answers=self.answers,
            position_labels=tuple(str(i) for i in range(self.clean.shape[1])),
            answer_labels=("e3",),
            spans=dict(self.spans),
            source={
                **self.source,
                "corruption": corruption,
                "other_layout": int((~alike).sum()),
            },
        )

    def metric(self, kind: str = "log_prob") -> AnswerLogProb | LogitDifference:
        """How much the model favours the first token of the answer.

        Args:
            kind: ``"log_prob"``, its log-probability, in nats; or ``"logit_diff"``, its logit minus
                that of the answer of the query's partner, in logits.

        Raises:
            TaskError: an unknown kind.
        """
        if kind not in KINDS:
            raise TaskError(f"metric kind={kind!r} is not known. {did_you_mean(kind, KINDS)}")
        pairs = self.pairs()
        if kind == "log_prob":
            return answer_log_prob(pairs)
        return logit_difference(pairs, self.answers[self.partners][:, None])


def _picked(rows: Sequence[Any], indices: Sequence[int]) -> tuple[Any, ...]:
    return tuple(rows[i] for i in indices)


def _digest(indices: Sequence[int]) -> str:
    return sha256(repr(indices).encode()).hexdigest()


def _check_label(label: str) -> None:
    if label not in LABELS:
        raise TaskError(f"There is no label {label!r}. {did_you_mean(label, LABELS)}")
