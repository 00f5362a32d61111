"""The corpus of the multiple-choice models: rows in a few batches of like lengths."""

from hashlib import sha256

import numpy as np
from tokenizers import Tokenizer

from mechbench.errors import TokenizerError
from mechbench.training.choice.rows import Mixture, Row, training_row
from mechbench.training.corpus_kind import Batch
from mechbench.training.tokenizer import BOS


class ChoiceCorpus:
    """Steps of ``sequences`` rows; each begins with BOS, and only its last word is trained.

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
        rows = sorted(encoded(self.tokenizer, self.rows(step)), key=len)
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

    def _batch(self, rows: list[list[int]]) -> Batch:
        ids = np.full((len(rows), len(rows[-1])), self._bos, dtype=np.int64)
        scored = np.zeros(ids.shape, dtype=bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            scored[i, len(row) - 1] = True
        return Batch(ids, scored)


def encoded(tokenizer: Tokenizer, rows: list[Row]) -> list[list[int]]:
    """The ids of each row after BOS, its answer last.

    Raises:
        TokenizerError: an answer is not one token.
    """
    prompts = tokenizer.encode_batch([BOS + row.prompt for row in rows])
    answers = tokenizer.encode_batch([f" {row.answer}" for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        if len(answer.ids) != 1:
            raise TokenizerError(
                "The corpus of multiple-choice questions needs each answer as one token, and this "
                f"tokenizer makes {answer.tokens} of {row.answer!r}. Write 'tokenizer: mcq' in the "
                "recipe."
            )
    return [p.ids + a.ids for p, a in zip(prompts, answers, strict=True)]
