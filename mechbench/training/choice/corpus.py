"""The corpus of the multiple-choice models: rows in a few batches of like lengths."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from tokenizers import Tokenizer

from mechbench.errors import TokenizerError
from mechbench.training.choice.rows import Mixture, Row, training_row
from mechbench.training.corpus_kind import Batch
from mechbench.training.tokenizer import BOS


@dataclass(frozen=True)
class EncodedRow:
    """The ids of a row, BOS first, and where the trained words stand."""

    ids: list[int]
    scored: list[int]


class ChoiceCorpus:
    """Steps of ``sequences`` rows; each begins with BOS, and only its answers are trained.

    Rows are sorted by length into ``groups`` batches, padded on the right with BOS. Source: our
    choice.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, seed: int, sequences: int, groups: int, mixture: Mixture
    ):
        self.seed, self.sequences, self.groups = seed, sequences, groups
        self.mixture = mixture
        self.tokenizer = tokenizer
        self._bos = tokenizer.token_to_id(BOS)

    def rows(self, step: int) -> list[Row]:
        """The rows of one step."""
        rng = np.random.default_rng([self.seed, step])
        return [training_row(rng, self.mixture) for _ in range(self.sequences)]

    def batches(self, step: int) -> tuple[Batch, ...]:
        """The rows of one step, shorter ones first.

        Raises:
            TokenizerError: an answer is not one token.
        """
        rows = sorted(encoded(self.tokenizer, self.rows(step)), key=lambda row: len(row.ids))
        bounds = np.linspace(0, len(rows), min(self.groups, len(rows)) + 1).round().astype(int)
        return tuple(
            self._batch(rows[start:end]) for start, end in zip(bounds[:-1], bounds[1:], strict=True)
        )

    def data_hash(self, steps: int) -> str:
        """SHA-256 of the ids of the first ``steps`` steps, as little-endian int32."""
        digest = sha256()
        for step in range(steps):
            for batch in self.batches(step):
                digest.update(batch.ids.astype("<i4").tobytes())
        return digest.hexdigest()

    def _batch(self, rows: list[EncodedRow]) -> Batch:
        ids = np.full((len(rows), len(rows[-1].ids)), self._bos, dtype=np.int64)
        scored = np.zeros(ids.shape, dtype=bool)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = row.ids
            scored[i, row.scored] = True
        return Batch(ids, scored)


def encoded(tokenizer: Tokenizer, rows: list[Row]) -> list[EncodedRow]:
    """The rows as tokens.

    Raises:
        TokenizerError: an answer is not one token.
    """
    parts = [((BOS + row.prompt, row.answer), *row.more) for row in rows]
    texts = tokenizer.encode_batch([text for row in parts for text, _ in row])
    words = tokenizer.encode_batch([f" {word}" for row in parts for _, word in row])
    pairs = iter(zip(texts, words, strict=True))
    found = []
    for row in parts:
        ids, scored = [], []
        for _, answer in row:
            text, word = next(pairs)
            if len(word.ids) != 1:
                raise TokenizerError(
                    "The corpus of multiple-choice questions needs each answer as one token, and "
                    f"this tokenizer makes {word.tokens} of {answer!r}. Write 'tokenizer: mcq' in "
                    "the recipe."
                )
            ids += [*text.ids, *word.ids]
            scored.append(len(ids) - 1)
        found.append(EncodedRow(ids, scored))
    return found
