"""The docstring task: which argument of a function does its docstring describe next?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.tasks.docstring_texts import NAMES, WORDS
from mechbench.tasks.metrics import LogitDifference, logit_difference
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.seeds import seeded
from mechbench.tasks.tokens import (
    bos_id,
    continuation_ids,
    pieces,
    text_ids,
    texts_ids,
    tokenizer_facts,
)

CORRUPTIONS = ("random_answer", "random_doc", "random_random")
OTHERS = ("all", "prompt")
_ARGUMENTS = ("first", "second", "A", "B", "C", "last")
# What each corruption puts where; every name of a prompt and of its corruptions is another one.
_REPLACED = {
    "random_answer": ("C_def",),
    "random_doc": ("A_doc", "B_doc"),
    "random_random": ("A_def", "B_def", "C_def", "A_doc", "B_doc"),
}
_N_OTHERS = sum(len(spans) for spans in _REPLACED.values())
_N_NAMES = 1 + len(_ARGUMENTS) + _N_OTHERS
_N_WORDS = 7
_HEAD, _WORD_START = "(self,", "Then"  # names and words are measured after something
_TEXT = '''
def {function}(self, {first}, {second}, {A}, {B}, {C}, {last}):
    """{w0} {w1} {w2}

    :param {A}: {w3} {w4}
    :param {B}: {w5} {w6}
    :param'''


@dataclass(frozen=True, kw_only=True, eq=False)
class DocstringTask:
    """Function heads with a docstring that has described A and B and goes on with ``:param``.

    Attributes:
        clean: token ids ``[prompt pos]``.
        arguments: token ids of the argument names in the order of the function's head,
            ``[prompt 6]``: two others, A, B, C (the answer), one other.
        others: token ids of the names that the corruptions put in, ``[prompt 8]``.
        spans: positions ``A_def``, ``B_def``, ``,_B`` (the comma after it), ``C_def``, ``A_doc``,
            ``B_doc`` and ``END`` (the last ``param``), ``[prompt]`` each.
        source: JSON-able provenance.
    """

    clean: Tensor
    arguments: Tensor
    others: Tensor
    spans: Mapping[str, Tensor]
    source: Mapping[str, Any]
    name: str = "docstring"
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.clean)

    def pairs(self, corruption: str = "random_random") -> PromptPairs:
        """Clean prompts and one corruption, in which names are replaced by others.

        Args:
            corruption: ``"random_answer"`` replaces C in the function's head; ``"random_doc"``
                replaces A and B in the docstring, so that it does not match the head;
                ``"random_random"`` replaces A, B and C in the head and A and B in the docstring by
                five different names.

        Raises:
            TaskError: an unknown corruption.

        Source: Heimersheim and Janiak 2023 (names and replacements as in their released prompt
            generator, which has more).
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        corrupt = self.clean.clone()
        before = CORRUPTIONS[: CORRUPTIONS.index(corruption)]
        start = sum(len(_REPLACED[name]) for name in before)
        rows = torch.arange(len(self))
        for i, span in enumerate(_REPLACED[corruption], start=start):
            corrupt[rows, self.spans[span]] = self.others[:, i]
        return self._pairs(corrupt, {"corruption": corruption})

    def metric(self, against: str = "max", *, others: str = "all") -> LogitDifference:
        """Logit of C minus the maximum or mean of the other argument names' logits at END.

        Args:
            against: ``"max"`` or ``"mean"``.
            others: ``"all"``, the names of the clean prompt and of all its corruptions, or
                ``"prompt"``, those of the clean prompt alone.

        Raises:
            TaskError: unknown ``against`` or ``others``.

        Source: Heimersheim and Janiak 2023 and Conmy et al. 2023 for the maximum over all, read in
            their released code; the mean and ``"prompt"`` are our choice.
        """
        if others not in OTHERS:
            raise TaskError(f"others={others!r} is not known. {did_you_mean(others, OTHERS)}")
        c = _ARGUMENTS.index("C")
        wrong = [self.arguments[:, :c], self.arguments[:, c + 1 :]]
        if others == "all":
            wrong.append(self.others)
        return logit_difference(self._pairs(self.clean, {}), torch.cat(wrong, 1)[:, None], against)

    def _pairs(self, corrupt: Tensor, facts: Mapping[str, Any]) -> PromptPairs:
        labels = [str(i) for i in range(self.clean.shape[1])]
        for label, positions in self.spans.items():
            labels[int(positions[0])] = label
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=corrupt,
            answer_positions=self.spans["END"][:, None],
            answers=self.arguments[:, [_ARGUMENTS.index("C")]],
            position_labels=tuple(labels),
            answer_labels=("C",),
            spans=self.spans,
            source={**self.source, **facts},
        )


def docstring(
    tokenizer: Any,
    n: int = 64,
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    words: Sequence[str] | None = None,
    bos: bool = True,
) -> DocstringTask:
    """Docstring prompts of one length, every name and word one token.

    Args:
        tokenizer: Hugging Face's interface, e.g. ``model.tokenizer``.
        n: number of prompts.
        seed: the same seed gives the same prompts.
        names: of functions and arguments, at least 15 single tokens; our own list by default.
        words: of the descriptions, at least 7 single tokens; our own list by default. Names are
            left out of them.
        bos: whether BOS stands at position 0.

    Raises:
        TaskError: ``n`` below 1, or too few single-token names or words.
        TokenizerError: no BOS token, or names or words are split differently inside a prompt.

    Source: Heimersheim and Janiak 2023 for the form of the prompt (three matching arguments after
        two and before one other); names and words are our own.
    """
    if n < 1:
        raise TaskError(f"docstring needs n of at least 1, got {n}.")
    bos_ids = [bos_id(tokenizer)] if bos else []
    given = sorted(set(NAMES if names is None else names))
    usable = _single(tokenizer, given, (_HEAD, " :param"), " ")
    spare = [word for word in sorted(set(WORDS if words is None else words)) if word not in given]
    plain = _single(tokenizer, spare, ('"""',), "")
    spaced = _single(tokenizer, plain, (_WORD_START,), " ")
    for what, fitting, needed, all_of in (
        ("names", usable, _N_NAMES, given),
        ("words", spaced, _N_WORDS, spare),
    ):
        if len(fitting) < needed:
            shown = {w: pieces(tokenizer, text_ids(tokenizer, f" {w}")) for w in all_of[:5]}
            raise TaskError(
                f"docstring needs at least {needed} {what} that are one token, and this tokenizer "
                f"has {len(fitting)} of {len(all_of)}; it splits {shown}. Give {what}=[...]."
            )
    texts, chosen = _draw_texts(seeded(seed, n), n, usable, spaced)
    rows = texts_ids(tokenizer, texts)
    if len({len(row) for row in rows}) > 1:
        raise TokenizerError("The names or words change how the tokenizer splits the prompts.")
    clean = torch.tensor([bos_ids + row for row in rows])
    found = continuation_ids(tokenizer, _HEAD, [f" {name}" for name in usable])
    ids = torch.tensor([row[0] for row in found if row])[chosen]
    arguments, others = ids[:, 1 : 1 + len(_ARGUMENTS)], ids[:, 1 + len(_ARGUMENTS) :]
    return DocstringTask(
        clean=clean,
        arguments=arguments,
        others=others,
        spans=_spans(clean, arguments, texts),
        source={
            "generator": "docstring",
            "n": n,
            "seed": seed,
            "tokenizer": tokenizer_facts(tokenizer),
            "names": len(usable),
            "words": len(spaced),
            "prompts_sha256": sha256(clean.numpy().astype("<i8").tobytes()).hexdigest(),
        },
    )


def _single(tokenizer: Any, words: Sequence[str], starts: Sequence[str], space: str) -> list[str]:
    """The words that are one token after each of some starts of a text."""
    found = list(words)
    for start in starts:
        rows = continuation_ids(tokenizer, start, [space + word for word in found])
        found = [w for w, row in zip(found, rows, strict=True) if row and len(row) == 1]
    return found


def _draw_texts(
    rng: Generator, n: int, names: Sequence[str], words: Sequence[str]
) -> tuple[list[str], Tensor]:
    """Texts, and which names each has and its corruptions get, ``[prompt 15]``."""
    texts, chosen = [], []
    for _ in range(n):
        picked = rng.choice(len(names), _N_NAMES, replace=False)
        fields = dict(zip(("function", *_ARGUMENTS), (names[i] for i in picked), strict=False))
        said = rng.choice(len(words), _N_WORDS, replace=False)
        fields |= {f"w{i}": words[j] for i, j in enumerate(said)}
        texts.append(_TEXT.format_map(fields))
        chosen.append(picked.tolist())
    return texts, torch.tensor(chosen)


def _spans(clean: Tensor, arguments: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
    last = clean.shape[1] - 1
    spans = {}
    for label, times in (("A", 2), ("B", 2), ("C", 1)):
        found = clean == arguments[:, _ARGUMENTS.index(label), None]
        wrong = found.sum(1) != times
        if wrong.any():
            raise TokenizerError(
                f"In {texts[int(wrong.nonzero()[0])]!r} the argument names must be single tokens, "
                "and the tokenizer splits them differently there. Give other names=[...]."
            )
        spans[f"{label}_def"] = found.int().argmax(1)
        if times == 2:
            spans[f"{label}_doc"] = last - found.flip(1).int().argmax(1)
    spans[",_B"] = spans["B_def"] + 1
    spans["END"] = torch.full((len(clean),), last)
    order = ("A_def", "B_def", ",_B", "C_def", "A_doc", "B_doc", "END")
    return {label: spans[label] for label in order}
