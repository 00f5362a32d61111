"""The tokenizer of the common corpus: every word of the corpus is one token, other text is bytes.

``python -m mechbench.training.mixed.tokenizer FOLDER`` writes it again, byte for byte.
"""

import re
import string
import sys
from pathlib import Path
from string import Formatter

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from mechbench.tasks.ioi_texts import NAMES, PLACES, TEMPLATES, THINGS
from mechbench.tasks.words import read_words, word_list
from mechbench.training.mixed import words
from mechbench.training.tokenizer import BOS, write_tokenizer

NAME = "mixed"


def mixed_tokenizer() -> Tokenizer:
    """A byte-level tokenizer without merges: a piece is one of its words, or else single bytes.

    A capital is a piece of its own, with the space before it, as in the ``acronyms`` tokenizer;
    whole are `The`, the first words of the name templates, and names after a space. Without merges
    no token stands for half a word, which keeps the vocabulary small. Source: our choice.
    """
    starters = "|".join(sorted(_starters()))
    names = "|".join(sorted(NAMES))
    # The last five alternatives are those of the acronym tokenizer.
    pieces = (
        rf" ?The(?![A-Za-z])|(?:{starters})(?![A-Za-z])| (?:{names})(?![A-Za-z])"
        r"| ?[A-Z]| ?[a-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    whole = [byte_level.pre_tokenize_str(word)[0][0] for word in _single_tokens()]
    entries = dict.fromkeys([BOS, *alphabet, *whole])
    vocabulary = {token: i for i, token in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.add_special_tokens([AddedToken(BOS, special=True, normalized=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore
        [pre_tokenizers.Split(Regex(pieces), behavior="isolated"), byte_level]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    return tokenizer


def _templates() -> list[str]:
    return [*TEMPLATES, *words.SHORT_TEMPLATES]


def _starters() -> set[str]:
    return {template.split()[0] for template in _templates()}


def _template_words() -> set[str]:
    """The lower-case words of all templates and phrasings."""
    found: set[str] = set()
    for template in [*_templates(), *words.PHRASINGS]:
        for text, *_ in Formatter().parse(template):
            found |= set(re.findall(r"\b[a-z]+\b", text))
    return found


def _single_tokens() -> list[str]:
    """Every piece that is one token, in the order of its id; bytes come before them."""
    attributes = [a for values in words.RELATIONS.values() for a in values]
    spaced = [
        *(sorted(_template_words()) + [*PLACES, *THINGS, *words.ENTITIES, *words.RELATIONS]),
        *attributes,
        words.FACT_END,
        *(*words.KEYS, *words.VALUES, words.STORE, words.RECALL),
        *(bracket for pair in words.BRACKETS for bracket in pair),
        words.CLOSE,
    ]
    tails = sorted({word[1:] for word in word_list()})
    return [
        *("The", " The", " ("),
        *(f" {capital}" for capital in string.ascii_uppercase),
        *(f" {word}" for word in read_words("fillers")),
        *tails,
        *sorted(_starters()),
        *(f" {name}" for name in NAMES),
        *(f" {word}" for word in spaced),
    ]


if __name__ == "__main__":
    write_tokenizer(mixed_tokenizer(), Path(sys.argv[1]))
