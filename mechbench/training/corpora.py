"""The corpora by kind: what a recipe trains on, and how its models are scored."""

from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from mechbench.models.base import HookedModel
from mechbench.training.corpus import AcronymCorpus
from mechbench.training.evaluation import score_letters
from mechbench.training.mixed.corpus import MixedCorpus
from mechbench.training.mixed.evaluation import score_tasks
from mechbench.training.recipe import MixedCorpusRecipe, Recipe


class Corpus(Protocol):
    """Training text."""

    def batch(self, step: int) -> np.ndarray:
        """The token ids of one step, ``int64 [sequences, sequence_length]``."""
        ...

    def data_hash(self, steps: int) -> str:
        """SHA-256 of the first ``steps`` batches, as little-endian int32."""
        ...


def corpus_of(recipe: Recipe, tokenizer: Tokenizer) -> Corpus:
    """The training text of a recipe.

    Raises:
        TokenizerError: the tokenizer lacks the corpus' words.
    """
    corpus = recipe.corpus
    if isinstance(corpus, MixedCorpusRecipe):
        return mixed_corpus(recipe, tokenizer)
    return AcronymCorpus(
        tokenizer,
        seed=recipe.seed,
        sequences=corpus.sequences,
        sequence_length=corpus.sequence_length,
        acronym_share=corpus.acronym_share,
    )


def mixed_corpus(recipe: Recipe, tokenizer: Tokenizer) -> MixedCorpus:
    """The common corpus as a recipe asks for it."""
    assert isinstance(recipe.corpus, MixedCorpusRecipe)
    options = recipe.corpus.model_dump(exclude={"kind"})
    return MixedCorpus(tokenizer, seed=recipe.seed, **options)


def score(
    recipe: Recipe, model: HookedModel, tokenizer: Tokenizer, prompts: int, seed: int = 0
) -> dict[str, Any]:
    """The scores of a recipe's model on held-out prompts, as plain numbers.

    Whatever the corpus, ``accuracy`` is a list of shares between 0 and 1: per letter of an acronym
    (``LetterScores``) or per task, in the order of ``task`` (``TaskScores``).
    """
    if not isinstance(recipe.corpus, MixedCorpusRecipe):
        return asdict(score_letters(model, tokenizer, prompts, seed))
    scores = score_tasks(model, mixed_corpus(recipe, tokenizer), prompts, seed)
    columns = ("task", "accuracy", "task_loss", "answers")
    values = [(s.task, s.accuracy, s.loss, s.answers) for s in scores]
    return dict(zip(columns, map(list, zip(*values, strict=True)), strict=True)) | {"n": prompts}
