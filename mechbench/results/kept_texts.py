"""Small texts that are kept under an id made of what they say, so that a link can name them."""

from hashlib import sha256
from pathlib import Path

from mechbench.results.files import read_text, write_atomically

ID_LENGTH = 16


def keep_text(text: str, folder: Path) -> str:
    """The id of ``text``, after it was written to ``folder/ID.json``.

    Raises:
        StoreError: the file cannot be written.
    """
    name = sha256(text.encode()).hexdigest()[:ID_LENGTH]
    write_atomically(folder / f"{name}.json", text)
    return name


def kept_text(name: str, folder: Path, what: str) -> str:
    """The text that was kept under an id; ``what`` it is called in messages.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    return read_text(folder / f"{name}.json", what)
