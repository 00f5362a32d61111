"""The kind of corpus of the acronym models."""

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field
from tokenizers import Tokenizer

from mechbench.models.base import HookedModel
from mechbench.training.acronym_card import render_acronym_card
from mechbench.training.corpus import AcronymCorpus
from mechbench.training.corpus_kind import CorpusKind, TextSection
from mechbench.training.evaluation import score_letters


class AcronymCorpusRecipe(TextSection):
    """The training text of the acronym models."""

    kind: Literal["acronyms"] = "acronyms"
    sequences: int = Field(128, ge=1, description="sequences of one step")
    sequence_length: int = Field(48, ge=16, description="tokens of a sequence, BOS included")
    acronym_share: float = Field(0.6, ge=0, le=1, description="share of segments")


def _corpus(section: AcronymCorpusRecipe, seed: int, tokenizer: Tokenizer) -> AcronymCorpus:
    return AcronymCorpus(tokenizer, seed=seed, **section.model_dump(exclude={"kind"}))


def _score(
    corpus: AcronymCorpus, model: HookedModel, tokenizer: Tokenizer, prompts: int, seed: int
) -> dict[str, Any]:
    """Per letter; see ``LetterScores``. The words are held out of every such corpus."""
    return asdict(score_letters(model, tokenizer, prompts, seed))


KIND = CorpusKind(
    name="acronyms",
    section=AcronymCorpusRecipe,
    corpus=_corpus,
    score=_score,
    card=render_acronym_card,
)
