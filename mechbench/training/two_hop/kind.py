"""The text of a world as a kind of corpus."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from tokenizers import Tokenizer

from mechbench.errors import TaskError
from mechbench.models.base import HookedModel
from mechbench.tasks.two_hop_world import World
from mechbench.training.corpus_kind import CorpusKind, CorpusSection
from mechbench.training.two_hop.card import render_world_card
from mechbench.training.two_hop.corpus import REPEAT_LENGTH, OneHop, TwoHopCorpus
from mechbench.training.two_hop.evaluation import score_world


class TwoHopCorpusRecipe(CorpusSection):
    """A world and how it is told; the world does not depend on the recipe's own seed."""

    kind: Literal["two_hop"]
    rows: int = Field(512, ge=1, description="rows of one step")
    one_hop: OneHop = "entity"
    repeat_share: float = Field(0.05, ge=0, le=1, description="rows that repeat entities")
    n_entities: int = Field(100, ge=4)
    n_relations: int = Field(8, ge=1)
    world_seed: int = Field(0, ge=0)
    ood_share: float = Field(0.15, ge=0, le=1)
    train_share: float = Field(0.8, ge=0, le=1)

    @model_validator(mode="after")
    def _check_world(self) -> Self:
        try:
            _ = self.world
        except TaskError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def longest(self) -> int:
        return REPEAT_LENGTH

    @property
    def prompts_depend_on(self) -> tuple[Any, ...]:
        return self.kind, self.world

    @property
    def world(self) -> World:
        """The world that it is about."""
        return World(
            self.n_entities, self.n_relations, self.world_seed, self.ood_share, self.train_share
        )


def _corpus(section: TwoHopCorpusRecipe, seed: int, tokenizer: Tokenizer) -> TwoHopCorpus:
    return TwoHopCorpus(
        tokenizer,
        seed=seed,
        world=section.world,
        rows=section.rows,
        one_hop=section.one_hop,
        repeat_share=section.repeat_share,
    )


def _score(
    corpus: TwoHopCorpus, model: HookedModel, tokenizer: Tokenizer, prompts: int, seed: int
) -> dict[str, Any]:
    return score_world(model, corpus, prompts, seed)


KIND = CorpusKind(
    name="two_hop",
    section=TwoHopCorpusRecipe,
    corpus=_corpus,
    score=_score,
    card=render_world_card,
    compared=("set", "accuracy", "bridge"),
)
