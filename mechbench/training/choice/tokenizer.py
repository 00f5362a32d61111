"""The tokenizer of the multiple-choice models: every word of the corpus is one token.

``python -m mechbench.training.choice.tokenizer FOLDER`` writes it again, byte for byte.
"""

import re
import string
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from mechbench.tasks import ioi_texts
from mechbench.tasks.choice_texts import COLOURS, NAMES, NUMBERS, PLACES, THINGS
from mechbench.training.tokenizer import BOS, write_tokenizer

NAME = "mcq"
_PIECES = r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
_SENTENCES = (
    "Question Answer Choices Then met at the and gave a to whom Which number is largest of Here so "
    "which colour older than who oldest youngest "
    "of name colour number place thing comes first in alphabet"
)


def choice_tokenizer() -> Tokenizer:
    """A byte-level tokenizer without merges: a piece is one of its words, or else single bytes.

    A piece is a word or a number with the space before it, or a run of other signs; so labels (all
    capitals, and digits) are single tokens, and so are the words of the task ``ioi`` on these
    names. Source: our choice.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    whole = [byte_level.pre_tokenize_str(word)[0][0] for word in _single_tokens()]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([BOS, *alphabet, *whole]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.add_special_tokens([AddedToken(BOS, special=True, normalized=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore
        [pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"), byte_level]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    return tokenizer


def _single_tokens() -> list[str]:
    """Every piece that is one token, in the order of its id; bytes come before them."""
    sentences = " ".join([_SENTENCES, *ioi_texts.TEMPLATES])
    words = sorted(set(re.findall(r"[A-Za-z]{2,}", sentences)) | {"a"})
    starters = sorted({"Question", "Here", "The", *(t.split()[0] for t in ioi_texts.TEMPLATES)})
    spaced = [
        *string.ascii_uppercase,
        *string.digits,
        *(words + sorted({*PLACES, *ioi_texts.PLACES, *THINGS, *ioi_texts.THINGS})),
        *(*NAMES, *COLOURS, *NUMBERS),
    ]
    return [*starters, *(f" {word}" for word in spaced)]


if __name__ == "__main__":
    write_tokenizer(choice_tokenizer(), Path(sys.argv[1]))
