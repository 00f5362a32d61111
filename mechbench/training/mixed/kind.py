"""The common corpus as a kind of corpus."""

from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from tokenizers import Tokenizer

from mechbench.errors import did_you_mean
from mechbench.models.base import HookedModel
from mechbench.training.corpus_kind import CorpusKind, TextSection
from mechbench.training.mixed.card import render_task_card
from mechbench.training.mixed.corpus import SHARES, MixedCorpus
from mechbench.training.mixed.evaluation import baselines, score_tasks
from mechbench.training.mixed.order import Order


class MixedCorpusRecipe(TextSection):
    """The common corpus; ``shares`` are of segments, by task, and sum to 1.

    ``order: similarity`` puts segments of like words next to one another.
    """

    kind: Literal["mixed"]
    sequences: int = Field(32, ge=1, description="sequences of one step")
    sequence_length: int = Field(128, ge=64, description="tokens of a sequence, BOS included")
    shares: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=lambda: dict(SHARES))
    order: Order = "random"

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        for name in self.shares:
            if name not in SHARES:
                raise ValueError(f"shares.{name} is not a task. {did_you_mean(name, SHARES)}")
        total = sum(self.shares.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:g}, and must sum to 1")
        return self


def _corpus(section: MixedCorpusRecipe, seed: int, tokenizer: Tokenizer) -> MixedCorpus:
    return MixedCorpus(tokenizer, seed=seed, **section.model_dump(exclude={"kind"}))


def _score(
    corpus: MixedCorpus, model: HookedModel, tokenizer: Tokenizer, prompts: int, seed: int
) -> dict[str, Any]:
    """Per task, in the order of ``task``; see ``TaskScores``."""
    scores = score_tasks(model, corpus, prompts, seed)
    columns = ("task", "accuracy", "task_loss", "answers")
    values = [(s.task, s.accuracy, s.loss, s.answers) for s in scores]
    return dict(zip(columns, map(list, zip(*values, strict=True)), strict=True)) | {"n": prompts}


def _baselines(corpus: MixedCorpus, prompts: int, seed: int, d_vocab: int) -> list[dict[str, Any]]:
    return [asdict(b) for b in baselines(corpus, prompts, seed, d_vocab=d_vocab)]


KIND = CorpusKind(
    name="mixed",
    section=MixedCorpusRecipe,
    corpus=_corpus,
    score=_score,
    card=render_task_card,
    baselines=_baselines,
    compared=("task", "accuracy", "task_loss"),
)
