"""Reading a tokenizer from a folder."""

import logging
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from mechbench.errors import TokenizerError

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def read_tokenizer(folder: Path) -> Any | None:
    """The Hugging Face tokenizer of a folder, or None where it holds none.

    Raises:
        TokenizerError: its files cannot be read.
    """
    if not any((folder / name).is_file() for name in _FILES):
        return None
    warnings = logging.getLogger("transformers")
    level = warnings.level
    warnings.setLevel(logging.ERROR)  # the length warning is ours to give, as an error
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the reader raises a bare Exception for malformed files
        raise TokenizerError(
            f"The tokenizer in {folder} cannot be read: {error} Copy its files again, or remove "
            "them to use the model with token ids alone."
        ) from error
    finally:
        warnings.setLevel(level)
