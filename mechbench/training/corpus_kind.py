"""What a kind of corpus provides, so that recipes, the loop, scores and cards know no kind by name.

A kind is a package beside this file that exports a ``CorpusKind``, and a line in ``kinds.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from mechbench.models.base import HookedModel


class Section(BaseModel):
    """A mapping of a recipe. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusSection(Section):
    """The ``corpus`` of a recipe; a kind's own section names its kind as a ``Literal``."""

    kind: str

    @property
    def longest(self) -> int:
        """Tokens of the longest row of a batch, BOS included."""
        raise NotImplementedError

    @property
    def prompts_depend_on(self) -> tuple[Any, ...]:
        """What the held-out prompts depend on besides their number, seed and the tokenizer."""
        raise NotImplementedError


class TextSection(CorpusSection):
    """The section of a corpus of rows of one length."""

    sequences: int = Field(32, ge=1, description="sequences of one step")
    sequence_length: int = Field(128, ge=1, description="tokens of a sequence, BOS included")

    @property
    def longest(self) -> int:
        return self.sequence_length

    @property
    def prompts_depend_on(self) -> tuple[Any, ...]:
        return self.kind, self.sequence_length


@dataclass(frozen=True)
class Batch:
    """Rows of one length.

    Attributes:
        ids: token ids, ``int64 [row pos]``; each row begins with BOS.
        scored: ``bool [row pos]``, the tokens whose prediction, at the position before, is
            trained; None where all but the first of a row are.
    """

    ids: np.ndarray
    scored: np.ndarray | None = None

    @property
    def n_scored(self) -> int:
        """Tokens whose prediction is trained."""
        return self.ids[:, 1:].size if self.scored is None else int(self.scored[:, 1:].sum())


class Corpus(Protocol):
    """Training text. What a step sees is a function of the seed and the step alone."""

    def batches(self, step: int) -> tuple[Batch, ...]:
        """The rows of one step; more than one batch where rows differ in length.

        The loss of the step is the mean over all scored tokens of all batches.
        """
        ...

    def data_hash(self, steps: int) -> str:
        """SHA-256 of the ids of the first ``steps`` steps, as little-endian int32."""
        ...


@dataclass(frozen=True, kw_only=True)
class CorpusKind:
    """A kind of corpus.

    Attributes:
        name: the ``kind`` of its section.
        section: what a recipe says of it.
        corpus: the training text, from the section, the recipe's seed and tokenizer.
        score: the scores of a model on held-out prompts, as plain numbers and lists, from the
            corpus, model, tokenizer, number of prompts (of each task) and seed. ``accuracy`` is a
            list of shares between 0 and 1; ``n`` is the number of prompts.
        card: the Markdown of a model's card, from its ``metrics.json``.
        baselines: what is reached without reading the prompt, a mapping for each task, from the
            corpus, number of prompts, seed and size of the vocabulary; None where the card has
            none.
        compared: the scores of a control model that the card shows, first the names of what each
            accuracy is of; none where it shows no control.
    """

    name: str
    section: type[CorpusSection]
    corpus: Callable[[Any, int, Tokenizer], Corpus]
    score: Callable[[Any, HookedModel, Tokenizer, int, int], dict[str, Any]]
    card: Callable[[dict[str, Any]], str]
    baselines: Callable[[Any, int, int, int], list[dict[str, Any]]] | None = None
    compared: tuple[str, ...] = ()
