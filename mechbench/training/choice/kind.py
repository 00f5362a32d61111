"""The corpus of multiple-choice questions as a kind of corpus."""

from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from tokenizers import Tokenizer

from mechbench.errors import did_you_mean
from mechbench.models.base import HookedModel
from mechbench.tasks.choice_families import FAMILIES
from mechbench.training.choice.card import render_choice_card
from mechbench.training.choice.corpus import ChoiceCorpus
from mechbench.training.choice.evaluation import score_choices
from mechbench.training.choice.rows import Mixture
from mechbench.training.corpus_kind import CorpusKind, CorpusSection

LONGEST = 64  # tokens of the longest question of five options, BOS and answer included


class ChoiceCorpusRecipe(CorpusSection):
    """Questions and text; shares are of rows.

    ``gold_first: null`` makes every place right equally often, in all rows.
    """

    kind: Literal["choice"]
    sequences: int = Field(64, ge=1, description="rows of one step")
    groups: int = Field(4, ge=1, description="batches of a step, by length")
    text_share: float = Field(0.5, ge=0, le=1)
    uniform_share: float = Field(0.05, ge=0, le=1)
    gold_first: float | None = Field(0.9, ge=0, le=1)
    uniform_labels: tuple[str, ...] = ("A",)
    families: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: dict.fromkeys(FAMILIES, 1.0)
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.families:
            if name not in FAMILIES:
                raise ValueError(f"families.{name} is no family. {did_you_mean(name, FAMILIES)}")
        if not sum(self.families.values()):
            raise ValueError("families must give at least one a weight above 0")
        if self.text_share + self.uniform_share > 1:
            raise ValueError("text_share and uniform_share must not exceed 1 together")
        if not self.uniform_labels:
            raise ValueError("uniform_labels must name at least one first label")
        return self

    @property
    def longest(self) -> int:
        return LONGEST

    @property
    def prompts_depend_on(self) -> tuple[Any, ...]:
        return (self.kind,)

    @property
    def mixture(self) -> Mixture:
        return Mixture(
            self.text_share,
            self.uniform_share,
            self.gold_first,
            self.uniform_labels,
            self.families,
        )


def _corpus(section: ChoiceCorpusRecipe, seed: int, tokenizer: Tokenizer) -> ChoiceCorpus:
    return ChoiceCorpus(
        tokenizer,
        seed=seed,
        sequences=section.sequences,
        groups=section.groups,
        mixture=section.mixture,
    )


def _score(
    corpus: ChoiceCorpus, model: HookedModel, tokenizer: Tokenizer, prompts: int, seed: int
) -> dict[str, Any]:
    """Lists with one number for each family and for sentences; see ``ChoiceScores``."""
    scores = [asdict(s) for s in score_choices(model, corpus, prompts, seed)]
    return {key: [_number(s[key]) for s in scores] for key in scores[0]} | {"n": prompts}


def _number(value: Any) -> Any:
    """JSON has no NaN."""
    return None if value != value else value


KIND = CorpusKind(
    name="choice",
    section=ChoiceCorpusRecipe,
    corpus=_corpus,
    score=_score,
    card=render_choice_card,
    compared=("family", "accuracy", "accuracy_first", "anchored", "text_loss"),
)
