"""A batch of acronym prompts, its corruptions and its metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.acronym_frame import AcronymFrame
from mechbench.tasks.acronym_words import WordTable, pick_other
from mechbench.tasks.metrics import LogitDifference, logit_difference
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.seeds import seeded

CORRUPTIONS = ("current_word", "previous_words", "previous_letters", "all")
METHODS = ("resample", "permute")


@dataclass(frozen=True, kw_only=True, eq=False)
class AcronymTask:
    """Acronym prompts of one frame; one forward pass scores all their letters.

    Attributes:
        name: ``"acronyms"`` or ``"prompts"``.
        clean: token ids ``[prompt pos]``.
        letters: the acronym's letters ``[prompt answer]``, 0 is ``A``.
        words: the words of each prompt.
        frame: which position holds what; ``frame.labels`` are the position labels.
        capitals: token ids of ``A`` to ``Z``, ``[26]``: the answers and their rivals.
        spaced_capitals: token ids of `` A`` to `` Z``, ``[26]``: what stands at C_i.
        tables: the words that resampling draws from, by number of tail tokens.
        against: the default of ``metric``.
        source: JSON-able provenance.
    """

    name: str
    clean: Tensor
    letters: Tensor
    words: tuple[tuple[str, ...], ...]
    frame: AcronymFrame
    capitals: Tensor
    spaced_capitals: Tensor
    tables: Mapping[int, WordTable]
    against: str
    source: Mapping[str, Any]
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def answers(self) -> Tensor:
        """The correct token ids, ``[prompt answer]``."""
        return self.capitals[self.letters]

    @property
    def acronyms(self) -> tuple[str, ...]:
        """One string per prompt."""
        return tuple("".join(ascii_uppercase[i] for i in row) for row in self.letters.tolist())

    def metric(self, against: str | None = None) -> LogitDifference:
        """Logit of each letter minus the maximum (or mean) of the other 25 unspaced capitals.

        In logits, read at the bracket for letter 1 and at the letter before for the others;
        positive means that the model favours the correct letter.

        Raises:
            TaskError: ``against`` is neither ``"max"`` nor ``"mean"``.

        Source: Garcia-Carrasco et al. 2024.
        """
        others = torch.arange(26).expand(26, 26)
        others = others[others != torch.arange(26)[:, None]].view(26, 25)
        pairs = self._pairs(self.clean, {})
        return logit_difference(pairs, self.capitals[others[self.letters]], against or self.against)

    def pairs(
        self,
        corruption: str = "all",
        letter: int | None = None,
        *,
        method: str = "resample",
        seed: int = 0,
    ) -> PromptPairs:
        """Clean prompts and their corruption; the answers of all letters stay.

        Args:
            corruption: ``"current_word"`` (the word of ``letter``), ``"previous_words"`` (the words
                before it), ``"previous_letters"`` (the given letters before it), or ``"all"``
                (every word and every given letter).
            letter: 1 for the first; None for ``"all"``.
            method: ``"resample"`` draws words and letters that differ from the clean ones, uniform
                over the letters that have words. ``"permute"`` takes them from other prompts of the
                batch, by one permutation for words and a second, independent one for given
                letters, with no rejection: a prompt may keep its own letter, which makes effects
                look smaller; ``source["kept_letters"]`` counts how often.
            seed: of the drawing; the same seed gives the same prompts.

        Raises:
            TaskError: an unknown corruption, method or letter; nothing to corrupt; too few words.

        Source: Garcia-Carrasco et al. 2024 for the positions and for ``"permute"``; the
        resampling is our choice. Tokens are replaced one by one, and text is not split anew.
        """
        words, given = self._slots(corruption, letter)
        if method not in METHODS:
            raise TaskError(f"method={method!r} is not known. {did_you_mean(method, METHODS)}")
        rng = seeded(seed, CORRUPTIONS.index(corruption), letter or 0)
        fill = self._resample if method == "resample" else self._permute
        corrupt, kept = fill(rng, words, given)
        facts = {
            "corruption": corruption,
            "letter": letter,
            "method": method,
            "corruption_seed": seed,
            "kept_letters": kept,
        }
        return self._pairs(corrupt, facts)

    def _pairs(self, corrupt: Tensor, facts: Mapping[str, Any]) -> PromptPairs:
        n, n_letters = self.letters.shape
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=corrupt,
            answer_positions=torch.tensor(self.frame.answers).expand(n, n_letters),
            answers=self.answers,
            position_labels=self.frame.labels,
            answer_labels=tuple(f"letter {i}" for i in range(1, n_letters + 1)),
            source={**self.source, **facts},
        )

    def _slots(self, corruption: str, letter: int | None) -> tuple[Sequence[int], Sequence[int]]:
        """Which words and which given letters a corruption replaces, from 0."""
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        n_letters = self.letters.shape[1]
        if corruption == "all":
            if letter is not None:
                raise TaskError(f"corruption='all' takes no letter, got {letter!r}.")
            return range(n_letters), range(n_letters - 1)
        first = 1 if corruption == "current_word" else 2
        if not isinstance(letter, int) or not first <= letter <= n_letters:
            raise TaskError(
                f"corruption={corruption!r} needs letter={first} to {n_letters} of this task"
                f"{' (nothing comes before letter 1)' if first == 2 else ''}, got {letter!r}."
            )
        if corruption == "current_word":
            return [letter - 1], []
        before = range(letter - 1)
        return (before, []) if corruption == "previous_words" else ([], before)

    def _resample(
        self, rng: Generator, words: Sequence[int], given: Sequence[int]
    ) -> tuple[Tensor, int]:
        clean = self.letters.numpy()
        corrupt = self.clean.clone()
        avoid = {slot: clean[:, [slot]] for slot in range(clean.shape[1])}
        for slot in words:
            positions = self.frame.words[slot]
            table = self.tables[len(positions) - 1]
            letters = table.other_letters(rng, clean[:, slot])
            corrupt[:, positions] = torch.from_numpy(table.ids[table.draw(rng, letters)])
            avoid[slot] = np.stack([clean[:, slot], letters], 1)
        for slot in given:  # words and letters disagree, as in the paper's two permutations
            letters = pick_other(rng, np.arange(26), avoid[slot])
            corrupt[:, self.frame.given[slot]] = self.capitals[torch.from_numpy(letters)]
        return corrupt, 0

    def _permute(
        self, rng: Generator, words: Sequence[int], given: Sequence[int]
    ) -> tuple[Tensor, int]:
        if len(self) < 2:
            raise TaskError("method='permute' needs at least 2 prompts: use 'resample'.")
        orders = [torch.from_numpy(rng.permutation(len(self))) for _ in range(2)]
        corrupt = self.clean.clone()
        kept = 0
        for order, slots, places in (
            (orders[0], words, self.frame.words),
            (orders[1], given, self.frame.given),
        ):
            for slot in slots:
                corrupt[:, places[slot]] = self.clean[order][:, places[slot]]
                kept += int((self.letters[order, slot] == self.letters[:, slot]).sum())
        return corrupt, kept
