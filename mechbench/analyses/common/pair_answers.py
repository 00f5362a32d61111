"""What patched prompts answered: as text, and right or wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.hops import answer_texts
from mechbench.analyses.common.token_labels import token_labels
from mechbench.interventions.generation_work import NOTHING
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION


@dataclass(frozen=True)
class PairAnswers:
    """Axes as in ``layer_pairs``; rules are the first token, and the text where there is one.

    Attributes:
        success: ``[rule state query place source target]``, NaN where nothing was run.
        other: the same of own states, where the answer of the query's partner counts.
        said, first: indices into ``texts`` and ``tokens``, -1 where nothing was run or kept.
    """

    success: np.ndarray
    other: np.ndarray
    said: np.ndarray
    first: np.ndarray
    texts: tuple[str, ...]
    tokens: tuple[str, ...]


def read_pairs(
    model, task: TwoHopTask, queries: Sequence[int], tokens: Tensor, method: str
) -> PairAnswers:
    """Score ``tokens [state query place source target new]`` by the rules of a method."""
    shape = tokens.shape[:-1]
    ran = tokens[..., 0] != NOTHING
    query = torch.arange(len(queries)).view(1, -1, 1, 1, 1).expand(shape)[ran].tolist()
    rows = tokens[ran]
    ids = rows[:, 0].tolist()
    kinds = sorted(set(ids))
    first = np.array(_places(ids, kinds))
    partners = [int(task.partners[q]) for q in queries]
    success = [_by_first_token(task, ids, [queries[i] for i in query])]
    other = [_by_first_token(task, ids, [partners[i] for i in query])]
    texts: tuple[str, ...] = ()
    said = np.full(len(ids), -1)
    if method == "generate":
        prompts = [task.tokens_of(COMPOSITION)[queries[i]] for i in query]
        spoken = answer_texts(model, prompts, rows)
        texts = tuple(sorted(set(spoken)))
        said = np.array(_places(spoken, texts))
        success.append(_by_text(task, spoken, [queries[i] for i in query]))
        other.append(_by_text(task, spoken, [partners[i] for i in query]))
    at = ran.numpy()
    return PairAnswers(
        success=np.stack([_filled(at, part, np.nan) for part in success]),
        other=np.stack([_filled(at, part, np.nan)[0] for part in other]),
        said=_filled(at, said, -1),
        first=_filled(at, first, -1),
        texts=texts,
        tokens=tuple(token_labels(model, kinds)),
    )


def _places(values: Sequence, kinds: Sequence) -> list[int]:
    place = {value: i for i, value in enumerate(kinds)}
    return [place[value] for value in values]


def _filled(at: np.ndarray, values: np.ndarray, blank: float) -> np.ndarray:
    out = np.full(at.shape, blank, dtype=values.dtype)
    out[at] = values
    return out


def _by_first_token(task: TwoHopTask, ids: Sequence[int], of: Sequence[int]) -> np.ndarray:
    return np.array([i in task.answer_ids[q] for i, q in zip(ids, of, strict=True)], dtype=float)


def _by_text(task: TwoHopTask, texts: Sequence[str], of: Sequence[int]) -> np.ndarray:
    targets = task.text_targets(COMPOSITION)
    known: dict[tuple[str, int], bool] = {}
    for key in zip(texts, of, strict=True):
        if key not in known:
            known[key] = task.said(targets[key[1]], key[0])
    return np.array([known[key] for key in zip(texts, of, strict=True)], dtype=float)
