"""The common corpus: segments of all tasks, in random order, packed into rows.

    <bos> The Kark of Lettle (KL)
     colour of elk ... and so on, a task a line, until the row is full

The batch of a step is a function of the seed and the step alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from tokenizers import Tokenizer

from mechbench.training.corpus_kind import Batch
from mechbench.training.mixed.acronyms import AcronymSegments
from mechbench.training.mixed.brackets import BracketSegments
from mechbench.training.mixed.facts import FactSegments
from mechbench.training.mixed.induction import InductionSegments
from mechbench.training.mixed.names import NameSegments
from mechbench.training.mixed.order import Order, arrange
from mechbench.training.mixed.recall import RecallSegments
from mechbench.training.mixed.segments import SegmentSource, join
from mechbench.training.mixed.text import TextSegments
from mechbench.training.tokenizer import BOS

TASKS = ("acronyms", "induction", "names", "facts", "brackets", "recall")
SHARES: Mapping[str, float] = {
    "acronyms": 0.16,
    "induction": 0.34,
    "names": 0.24,
    "facts": 0.06,
    "brackets": 0.08,
    "recall": 0.12,
    "text": 0.0,
}
_PROMPT_STREAM = 1  # keeps the seeds of prompts apart from those of training batches


@dataclass(frozen=True)
class LabelledText:
    """Rows of text and what of it is scored.

    Attributes:
        ids: token ids ``[row pos]``; each row begins with BOS.
        task: ``[row pos]``, the index into ``TASKS`` where the token is an answer of that task,
            -1 where it is not scored. It is predicted at the position before.
    """

    ids: np.ndarray
    task: np.ndarray


class MixedCorpus:
    """Batches of token ids ``[sequences, sequence_length]``; each row begins with BOS.

    A row is filled with segments, one after another, and cut at its end. The task of each segment
    is drawn with the probabilities ``shares``, so they are shares of segments, not of tokens.
    ``order`` says which segments stand next to one another (``order.py``). Source: our choice.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: int,
        sequences: int,
        sequence_length: int,
        shares: Mapping[str, float] = SHARES,
        order: Order = "random",
    ):
        self.order: Order = order
        self.seed, self.sequences, self.sequence_length = seed, sequences, sequence_length
        self._bos = tokenizer.token_to_id(BOS)
        self._text = TextSegments(tokenizer)
        sources: list[SegmentSource] = [
            AcronymSegments(tokenizer),
            InductionSegments(tokenizer),
            NameSegments(tokenizer),
            FactSegments(tokenizer),
            BracketSegments(tokenizer),
            RecallSegments(tokenizer, max_gap=sequence_length // 2),
            self._text,
        ]
        self.sources = {source.name: source for source in sources}
        assert tuple(self.sources) == (*TASKS, self._text.name)
        self._probabilities = np.array([shares.get(name, 0.0) for name in self.sources])
        self._probabilities /= self._probabilities.sum()

    def batch(self, step: int) -> np.ndarray:
        """The token ids of one step, ``int64 [sequences, sequence_length]``."""
        return self.labelled(step).ids

    def batches(self, step: int) -> tuple[Batch]:
        """The batch of one step, every token of it trained."""
        return (Batch(self.batch(step)),)

    def labelled(self, step: int) -> LabelledText:
        """The batch of one step with its answers marked."""
        rng = np.random.default_rng([self.seed, step])
        shortest = np.array([source.shortest for source in self.sources.values()])
        per_row = -(-(self.sequence_length - 1) // shortest[self._probabilities > 0].min())
        kinds = rng.choice(len(self.sources), p=self._probabilities, size=self.sequences * per_row)
        drawn = []
        for kind, source in enumerate(self.sources.values()):
            rows = np.flatnonzero(kinds == kind)
            if len(rows):
                drawn.append((kind, rows, source.draw(rng, len(rows))))
        width = max(segments.ids.shape[1] for *_, segments in drawn)
        ids = np.zeros((len(kinds), width), dtype=np.int64)
        used = np.zeros((len(kinds), width), dtype=bool)
        task = np.full((len(kinds), width), -1)
        for kind, rows, segments in drawn:
            n_slots = segments.ids.shape[1]
            ids[rows, :n_slots], used[rows, :n_slots] = segments.ids, segments.used
            task[rows, :n_slots] = np.where(segments.scored, kind, -1)
        place = arrange(self.order, ids, used, self.sequences, self.sequence_length - 1)
        shape = (self.sequences, -1)
        return self._rows(*(x[place].reshape(shape) for x in (ids, used, task)))

    def prompts(self, task: str, n: int, seed: int) -> LabelledText:
        """Held-out prompts: in each row one segment of the task, somewhere between filler text.

        They depend on ``seed``, ``n`` and the task, and not on the seed of training.
        """
        index = TASKS.index(task)
        rng = np.random.default_rng([seed, n, index, _PROMPT_STREAM])
        segments = self.sources[task].draw(rng, n, held_out=True)
        free = np.maximum(self.sequence_length - 1 - segments.used.sum(1), 0)
        before = (rng.random(n) * (free + 1)).astype(int)
        after = np.full(n, self.sequence_length)
        row = join([self._text.exactly(rng, before), segments, self._text.exactly(rng, after)])
        return self._rows(row.ids, row.used, np.where(row.scored, index, -1))

    def data_hash(self, steps: int) -> str:
        """SHA-256 of the first ``steps`` batches, as little-endian int32."""
        digest = sha256()
        for step in range(steps):
            digest.update(self.batch(step).astype("<i4").tobytes())
        return digest.hexdigest()

    def _rows(self, ids: np.ndarray, used: np.ndarray, task: np.ndarray) -> LabelledText:
        """The used slots of each row in order after BOS, cut to the length of a sequence."""
        n_rows, length = len(ids), self.sequence_length
        place = used.cumsum(1)
        assert place[:, -1].min() >= length - 1
        row, slot = np.nonzero(used & (place < length))
        packed_ids = np.full((n_rows, length), self._bos)
        packed_task = np.full((n_rows, length), -1)
        packed_ids[row, place[row, slot]] = ids[row, slot]
        packed_task[row, place[row, slot]] = task[row, slot]
        return LabelledText(packed_ids, packed_task)
