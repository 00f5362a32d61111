"""The tokenizer of the two-hop models: every word of a world is one token, other text is bytes.

``python -m mechbench.training.two_hop.tokenizer FOLDER`` writes it again, byte for byte.
"""

import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from mechbench.tasks.words import read_words
from mechbench.training.tokenizer import BOS, write_tokenizer

NAME = "twohop"
WORDS = ("the", "of", "is")
SIGNS = (":", ",")
# Of text whose spaces are written Ġ already.
_PIECES = r"Ġ?[A-Za-z]+|Ġ?[:,]|Ġ|[^Ġ]"


def two_hop_tokenizer() -> Tokenizer:
    """A byte-level tokenizer without merges: a piece is one of its words, or else single bytes.

    Whole are entities, relations, ``the``, ``of``, ``is``, ``:`` and ``,``, each with the space
    before it. A text that begins without a space is read as if it had one, so that a relation is
    the same token at the beginning of a prompt as later. Source: our choice.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*WORDS, *SIGNS, *read_words("two-hop-relations"), *read_words("two-hop-entities")]
    entries = dict.fromkeys([BOS, *(f"Ġ{word}" for word in words), *alphabet])
    vocabulary = {token: i for i, token in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.add_special_tokens([AddedToken(BOS, special=True, normalized=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore
        [
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    return tokenizer


if __name__ == "__main__":
    write_tokenizer(two_hop_tokenizer(), Path(sys.argv[1]))
