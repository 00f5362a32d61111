"""The training text of the acronym models: acronym strings among other text, as token ids.

    <bos> ... river road The Kark of Lettle Wake (KLW) and then the ...

The batch of a step is a function of the seed and the step alone, so a resumed run sees the same
text. Words are random pairs of a capital and a tail; the held-out words never occur.

Suffixes: N segment, S slot of a segment, W word of an acronym.
"""

import string
from collections.abc import Container
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from mechbench.tasks.words import held_out_words, read_words, word_list
from mechbench.training.bigrams import BigramText
from mechbench.training.corpus_kind import Batch
from mechbench.training.tokenizer import BOS

MAX_LEAD = 20
MAX_WORDS = 5
MAX_EXTRA = 3
EXTRA_SHARES = (0.55, 0.25, 0.12, 0.08)  # of 0, 1, 2, 3 filler words after a word
N_SLOTS = MAX_LEAD + 1 + MAX_WORDS * (2 + MAX_EXTRA) + 1 + MAX_WORDS + 1

_SHORTEST = 6  # tokens of the shortest segment: two repeats of a period of three


@dataclass(frozen=True)
class AcronymVocabulary:
    """Token ids of the parts of the training text.

    Attributes:
        bos, the_first, the, opening, closing: `<|endoftext|>`, `The`, ` The`, ` (` and `)`.
        capitals: of `A` to `Z`; ``spaced``: of ` A` to ` Z`.
        fillers: of the filler words, with their space.
        tails: of the tails a word of each letter may have in training, ``[26, tail]``, rows
            padded; ``n_tails`` says how many of a row count.
    """

    bos: int
    the_first: int
    the: int
    opening: int
    closing: int
    capitals: np.ndarray
    spaced: np.ndarray
    fillers: np.ndarray
    tails: np.ndarray
    n_tails: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer, without: Container[str] = ()) -> "AcronymVocabulary":
        """The ids in a tokenizer that has every part as one token; some words never occur."""
        ids = tokenizer.get_vocab()

        def spaced(words: Any) -> np.ndarray:
            return np.array([ids["Ġ" + word] for word in words])

        tails, n_tails = _tails_of(ids, held_out=False, without=without)
        return cls(
            bos=ids[BOS],
            the_first=ids["The"],
            the=ids["ĠThe"],
            opening=ids["Ġ("],
            closing=ids[")"],
            capitals=np.array([ids[c] for c in string.ascii_uppercase]),
            spaced=spaced(string.ascii_uppercase),
            fillers=spaced(read_words("fillers")),
            tails=tails,
            n_tails=n_tails,
        )

    def held_out(self, tokenizer: Tokenizer) -> "AcronymVocabulary":
        """The same, with the held-out words instead of those of training."""
        tails, n_tails = _tails_of(tokenizer.get_vocab(), held_out=True)
        return replace(self, tails=tails, n_tails=n_tails)


def _tails_of(
    ids: dict[str, int], *, held_out: bool, without: Container[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The tails of each letter's held-out words, or all tails that make no held-out word."""
    all_tails = sorted({word[1:] for word in word_list()})
    words = set(held_out_words())
    rows = [
        [
            ids[tail]
            for tail in all_tails
            if (capital + tail in words) == held_out and capital + tail not in without
        ]
        for capital in string.ascii_uppercase
    ]
    tails = np.zeros((26, len(all_tails)), dtype=np.int64)
    for row, allowed in zip(tails, rows, strict=True):
        row[: len(allowed)] = allowed
    return tails, np.array([len(row) for row in rows])


class AcronymCorpus:
    """Batches of token ids ``[sequences, sequence_length]``; each row begins with BOS.

    A row is filled with segments, one after another, and cut at its end. A segment is an acronym
    string with probability ``acronym_share``, else, evenly, text of a fixed bigram model over the
    filler words or a short random sequence that is repeated two or three times. An acronym string
    has 0 to 20 filler words of bigram text (few more often than many), `The`, 2 to 5 words with
    uniform letters, 0 to 3 filler words after each, ` (`, the letters and `)`. Source: our choice.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: int,
        sequences: int,
        sequence_length: int,
        acronym_share: float = 0.6,
    ):
        self.vocabulary = AcronymVocabulary.of(tokenizer)
        self.seed, self.sequences, self.sequence_length = seed, sequences, sequence_length
        self.acronym_share = acronym_share
        self._bigrams = BigramText(self.vocabulary.fillers)

    def batch(self, step: int) -> np.ndarray:
        """The token ids of one step, ``int64 [sequences, sequence_length]``."""
        rng = np.random.default_rng([self.seed, step])
        n_text = self.sequence_length - 1
        per_row = -(-n_text // _SHORTEST)
        n = self.sequences * per_row
        kind = rng.random(n)
        ids, used, _ = acronym_strings(rng, n, self.vocabulary, self._bigrams)
        other_share = (1 - self.acronym_share) / 2
        for start, make in (
            (self.acronym_share, self._bigram_text),
            (self.acronym_share + other_share, self._repeats),
        ):
            chosen = kind >= start
            other_ids, other_used = make(rng, n)
            ids[chosen], used[chosen] = other_ids[chosen], other_used[chosen]
        text = _pack(ids.reshape(self.sequences, -1), used.reshape(self.sequences, -1), n_text)
        v = self.vocabulary
        text[text[:, 0] == v.the, 0] = v.the_first
        return np.concatenate([np.full((self.sequences, 1), v.bos), text], axis=1)

    def batches(self, step: int) -> tuple[Batch]:
        """The batch of one step, every token of it trained."""
        return (Batch(self.batch(step)),)

    def data_hash(self, steps: int) -> str:
        """SHA-256 of the first ``steps`` batches, as little-endian int32."""
        digest = sha256()
        for step in range(steps):
            digest.update(self.batch(step).astype("<i4").tobytes())
        return digest.hexdigest()

    def _bigram_text(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        length = rng.integers(6, 21, size=(n, 1))
        return self._bigrams.draw(rng, n, N_SLOTS), np.arange(N_SLOTS) < length

    def _repeats(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        v = self.vocabulary
        pool = np.concatenate([v.fillers, v.spaced])
        unit = pool[rng.integers(len(pool), size=(n, 8))]
        period = rng.integers(3, 9, size=(n, 1))
        times = rng.integers(2, 4, size=(n, 1))
        slots = np.arange(N_SLOTS)
        return np.take_along_axis(unit, slots % period, axis=1), slots < period * times


def acronym_strings(
    rng: np.random.Generator,
    n: int,
    vocabulary: AcronymVocabulary,
    bigrams: BigramText,
    max_lead: int = MAX_LEAD,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``n`` acronym strings: ids, which slots are used, and which hold a letter of the acronym."""
    v = vocabulary
    letters_NW = rng.integers(26, size=(n, MAX_WORDS))
    n_words = rng.integers(2, MAX_WORDS + 1, size=n)
    n_lead = ((max_lead + 1) * rng.random(n) ** 2).astype(int)
    n_extra_NW = rng.choice(MAX_EXTRA + 1, p=EXTRA_SHARES, size=(n, MAX_WORDS))
    tails_NW = v.tails[letters_NW, (rng.random((n, MAX_WORDS)) * v.n_tails[letters_NW]).astype(int)]
    extras = v.fillers[rng.integers(len(v.fillers), size=(n, MAX_WORDS, MAX_EXTRA))]
    words = np.concatenate([v.spaced[letters_NW][..., None], tails_NW[..., None], extras], axis=2)
    exists_NW = np.arange(MAX_WORDS) < n_words[:, None]
    slot = np.arange(2 + MAX_EXTRA)
    words_used = exists_NW[..., None] & (slot < 2 + n_extra_NW[..., None])

    def column(token: int) -> np.ndarray:
        return np.full((n, 1), token)

    always = np.ones((n, 1), dtype=bool)
    lead = bigrams.draw(rng, n, max_lead)
    before = [lead, column(v.the), words.reshape(n, -1), column(v.opening)]
    ids = np.concatenate([*before, v.capitals[letters_NW], column(v.closing)], axis=1)
    used = [np.arange(max_lead) < n_lead[:, None], always, words_used.reshape(n, -1), always]
    used = np.concatenate([*used, exists_NW, always], axis=1)
    letters = np.zeros_like(used)
    letters[:, -1 - MAX_WORDS : -1] = exists_NW
    return ids, used, letters


def _pack(ids: np.ndarray, used: np.ndarray, length: int) -> np.ndarray:
    """The first ``length`` used ids of each row, in order."""
    order = np.argsort(~used, axis=1, kind="stable")[:, :length]
    assert used.sum(1).min() >= length
    return np.take_along_axis(ids, order, axis=1)
