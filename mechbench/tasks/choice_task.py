"""The multiple-choice task: prompts with labelled options, of which one label is the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.tasks.choice_items import (
    ChoiceItem,
    choice_labels,
    gold_counts,
    reordered,
    shortened,
)
from mechbench.tasks.choice_tokens import (
    ChoiceTokens,
    choice_prompt,
    choice_tokens,
    label_token_ids,
)
from mechbench.tasks.metrics import LogitDifference, logit_difference
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.tokens import bos_id, pieces, tokenizer_facts

CORRUPTIONS = ("rotated", "anchor_swapped")
_SHOWN = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceTask:
    """Multiple-choice prompts of any lengths; the answer is the label of the right option.

    Shorter prompts are padded on the right with BOS, which in a causal model changes nothing
    before it; whatever runs a model that is not causal must ask for equal ``lengths``.

    Attributes:
        items: what is asked, one per prompt.
        clean: token ids ``[prompt pos]``, BOS at position 0.
        lengths: tokens of each prompt, ``[prompt]``; the answer is read at ``lengths - 1``.
        gold: index of the right option, ``[prompt]``.
        n_options: ``[prompt]``.
        labels: as many as the most options (``"A"``, ``"B"``, ...).
        label_ids: ids of the labels with their space, ``[option]``.
        label_positions: of the labels among the choices, ``[prompt option]``; -1 for an option
            that the prompt does not have.
        option_positions: of the last token of each option's text, ``[prompt option]``; or -1.
        tokenizer: that made the tokens.
        source: JSON-able provenance.
    """

    items: tuple[ChoiceItem, ...]
    clean: Tensor
    lengths: Tensor
    gold: Tensor
    n_options: Tensor
    labels: tuple[str, ...]
    label_ids: Tensor
    label_positions: Tensor
    option_positions: Tensor
    tokenizer: Any = field(repr=False)
    source: Mapping[str, Any]
    name: str = "multiple_choice"
    corruptions: tuple[str, ...] = CORRUPTIONS
    anchor: int = 0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def sets(self) -> tuple[str, ...]:
        """The set of each prompt."""
        return tuple(item.set_name for item in self.items)

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts as text, without BOS."""
        return tuple(choice_prompt(item, self.labels).text for item in self.items)

    @property
    def answer_positions(self) -> Tensor:
        """The last position of each prompt, ``[prompt]``."""
        return self.lengths - 1

    def select(self, indices: Tensor | Sequence[int] | slice) -> "ChoiceTask":
        """The task of some of the prompts, by index, mask or slice.

        Raises:
            TaskError: none are selected.
        """
        if not isinstance(indices, Tensor | slice):
            indices = torch.tensor(list(indices), dtype=torch.long)
        rows = torch.arange(len(self))[indices]
        if len(rows) == 0:
            raise TaskError("A task needs at least one prompt, and none of them is selected.")
        items = tuple(self.items[i] for i in rows.tolist())
        lengths = self.lengths[rows]
        clean = self.clean[rows, : int(lengths.max())]
        return replace(
            self,
            items=items,
            clean=clean,
            lengths=lengths,
            gold=self.gold[rows],
            n_options=self.n_options[rows],
            label_positions=self.label_positions[rows],
            option_positions=self.option_positions[rows],
            source={**self.source, **_prompt_facts(items, clean)},
        )

    def relabelled(self, labels: str | Sequence[str]) -> "ChoiceTask":
        """The same questions under other labels, given as to ``multiple_choice``.

        Raises:
            TaskError, TokenizerError: as ``choice_task``.
        """
        task = choice_task(self.tokenizer, self.items, labels=labels, source=self.source)
        return replace(task, name=self.name)

    def corrupted(self, corruption: str = "rotated") -> "ChoiceTask":
        """The task in which the right content stands under another label.

        Args:
            corruption: ``"rotated"`` moves each option's text to the next label, the last one's to
                the first; ``"anchor_swapped"`` exchanges the text of the right option with that of
                the first one, or where the right one is the first, with that of the second.

        Raises:
            TaskError: an unknown corruption.

        Source: our choice.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        order = _rotation if corruption == "rotated" else _anchor_swap
        items = [reordered(item, order(item)) for item in self.items]
        source = {**self.source, "corruption": corruption}
        task = choice_task(self.tokenizer, items, labels=self.labels, source=source)
        return replace(task, name=self.name)

    def pairs(self, corruption: str = "rotated") -> PromptPairs:
        """Clean prompts and the same with the right content under another label.

        The answers are the clean ones. Spans: ``anchor``, the first label; ``gold``, the right
        one; ``T``, the last position.

        Args:
            corruption: as in ``corrupted``.

        Raises:
            TaskError: an unknown corruption, or one that changes a prompt's number of tokens.

        Source: our choice.
        """
        other = self.corrupted(corruption)
        differ = (other.lengths != self.lengths).nonzero().flatten().tolist()
        if differ:
            i = differ[0]
            raise TaskError(
                f"{len(differ)} of {len(self)} prompts change their length when options move, and "
                f"pairs need equal lengths: {shortened(self.items[i].question)!r} has "
                f"{int(self.lengths[i])} tokens, then {int(other.lengths[i])}. Select the others."
            )
        return self._pairs(other.clean, {"corruption": corruption})

    def metric(self) -> LogitDifference:
        """Logit of the right label minus the largest one of the prompt's other labels, in logits.

        Positive is right, among the labels.

        Source: our choice.
        """
        return logit_difference(self._pairs(self.clean, {}), self._wrong()[:, None])

    def _wrong(self) -> Tensor:
        """Ids of each prompt's other labels; where there are fewer, one of them again."""
        rows = []
        for gold, n_options in zip(self.gold.tolist(), self.n_options.tolist(), strict=True):
            others = [i for i in range(n_options) if i != gold]
            rows.append(others + others[:1] * (len(self.labels) - n_options))
        return self.label_ids[torch.tensor(rows)]

    def _pairs(self, corrupt: Tensor, facts: Mapping[str, Any]) -> PromptPairs:
        rows = torch.arange(len(self))
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=corrupt,
            answer_positions=self.answer_positions[:, None],
            answers=self.label_ids[self.gold][:, None],
            position_labels=tuple(str(i) for i in range(self.clean.shape[1])),
            answer_labels=("label",),
            spans={
                "anchor": self.label_positions[:, self.anchor],
                "gold": self.label_positions[rows, self.gold],
                "T": self.answer_positions,
            },
            source={**self.source, **facts},
        )


def _rotation(item: ChoiceItem) -> list[int]:
    n = len(item.options)
    return [n - 1, *range(n - 1)]


def _anchor_swap(item: ChoiceItem) -> list[int]:
    order = list(range(len(item.options)))
    other = item.gold or 1
    order[0], order[other] = order[other], order[0]
    return order


def choice_task(
    tokenizer: Any,
    items: Sequence[ChoiceItem],
    *,
    labels: str | Sequence[str] = "A",
    source: Mapping[str, Any] | None = None,
) -> ChoiceTask:
    """The task of given items.

    Args:
        tokenizer: Hugging Face's interface, a fast one.
        items: at least one.
        labels: the first of consecutive letters or digits (``"A"``, ``"1"``, ``"P"``), or a list.
        source: provenance; the counts, labels and tokenizer are added.

    Raises:
        TaskError: no items, or labels that are too few or collide.
        TokenizerError: no BOS, a label of several tokens, or labels and options that cannot be
            found as tokens in a prompt; the tokens are shown.
    """
    if not items:
        raise TaskError("A multiple-choice task needs at least one question.")
    bos = bos_id(tokenizer)
    chosen = choice_labels(labels, max(len(item.options) for item in items))
    label_ids = label_token_ids(tokenizer, chosen)
    rows = choice_tokens(tokenizer, items, chosen, label_ids, bos)
    bad = [
        f"{shortened(item.question)!r}: {row}"
        for item, row in zip(items, rows, strict=True)
        if isinstance(row, str)
    ]
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise TokenizerError(
            f"{len(bad)} of {len(items)} questions cannot be asked. "
            f"{'; '.join(bad[:_SHOWN])}{more}."
        )
    good = [row for row in rows if isinstance(row, ChoiceTokens)]
    clean = _padded([row.ids for row in good], bos)
    return ChoiceTask(
        items=tuple(items),
        clean=clean,
        lengths=torch.tensor([len(row.ids) for row in good]),
        gold=torch.tensor([item.gold for item in items]),
        n_options=torch.tensor([len(item.options) for item in items]),
        labels=chosen,
        label_ids=torch.tensor(label_ids),
        label_positions=_padded([row.label_positions for row in good], -1, len(chosen)),
        option_positions=_padded([row.option_positions for row in good], -1, len(chosen)),
        tokenizer=tokenizer,
        source={
            **(source or {"generator": "items"}),
            "labels": list(chosen),
            "label_tokens": pieces(tokenizer, label_ids),
            "tokenizer": tokenizer_facts(tokenizer),
            **_prompt_facts(items, clean),
        },
    )


def _padded(rows: Sequence[Sequence[int]], value: int, width: int = 0) -> Tensor:
    width = max(width, *(len(row) for row in rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def _prompt_facts(items: Sequence[ChoiceItem], clean: Tensor) -> dict[str, Any]:
    return {
        "n": len(items),
        "right_places": gold_counts(items),
        "prompts_sha256": sha256(clean.numpy().astype("<i8").tobytes()).hexdigest(),
    }
