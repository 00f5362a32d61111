"""The bundled tokenizer: a small byte-level BPE that splits a capital from the rest of its word.

``python -m mechbench.training.tokenizer FOLDER`` writes it again, byte for byte.
"""

import json
import string
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from mechbench.tasks.words import read_words, word_list

BOS = "<|endoftext|>"

# `The` is one piece, so that the acronym frame has eleven tokens; any other capital is a piece of
# its own, with the space before it; then runs of lower case, digits, the rest, and white space.
_PIECES = r" ?The(?![A-Za-z])| ?[A-Z]| ?[a-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"


def _training_text() -> list[str]:
    """Every piece that must become one token, several times, so that ties never decide."""
    capitals = list(string.ascii_uppercase)
    tails = [word[1:] for word in word_list()]
    fillers = read_words("fillers")
    pieces = ["The", " The", " (", *(f" {c}" for c in capitals), *(f" {w}" for w in fillers)]
    return [*(f"A{tail}" for tail in tails), *pieces]


def train_tokenizer() -> Tokenizer:
    """The tokenizer of the bundled acronym models.

    Byte-level BPE over all 256 bytes, so it accepts any text; every tail of the word list, every
    filler word and every capital with and without its space is a single token. Deterministic.
    Source: our choice.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=4096,  # never reached: merging ends when every piece is one token
        min_frequency=1,
        special_tokens=[AddedToken(BOS, special=True, normalized=False)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(), trainer)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files that ``PreTrainedTokenizerFast.from_pretrained(folder)`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": BOS,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def save_tokenizer(folder: Path) -> None:
    """Write the tokenizer of the acronym models."""
    write_tokenizer(train_tokenizer(), folder)


if __name__ == "__main__":
    save_tokenizer(Path(sys.argv[1]))
