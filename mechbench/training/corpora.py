"""The corpus of a recipe: what it trains on, and how its models are scored."""

from typing import Any

from tokenizers import Tokenizer

from mechbench.models.base import HookedModel
from mechbench.training.kinds import kind_called
from mechbench.training.recipe import Recipe


def corpus_of(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    """The training text of a recipe: a ``Corpus``, of the class of its kind.

    Raises:
        TokenizerError: the tokenizer lacks the corpus' words.
    """
    return kind_called(recipe.corpus.kind).corpus(recipe.corpus, recipe.seed, tokenizer)


def score(
    recipe: Recipe, model: HookedModel, tokenizer: Tokenizer, prompts: int, seed: int = 0
) -> dict[str, Any]:
    """The scores of a recipe's model on held-out prompts, as plain numbers.

    Whatever the corpus, ``accuracy`` is a list of shares between 0 and 1: of each letter, task or
    set that the kind tells apart.
    """
    corpus = corpus_of(recipe, tokenizer)
    return kind_called(recipe.corpus.kind).score(corpus, model, tokenizer, prompts, seed)
