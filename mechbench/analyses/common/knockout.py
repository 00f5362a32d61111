"""Attention that is not allowed: one query position may not look at one key position."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.hops import answer_texts, n_new_tokens, names_answer
from mechbench.analyses.common.norm_map import require_hooks
from mechbench.analyses.common.row_runs import run_rows
from mechbench.analyses.common.steps import Steps
from mechbench.errors import TaskError
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION, SPANS

Pair = tuple[str, str]
"""Names of the spans of the query position and of the key position."""


@dataclass(frozen=True)
class Knockouts:
    """What masking does, layer by layer.

    Attributes:
        base: log-probability of the answer without a mask, ``[prompt]``.
        change: log-probability with the mask minus without, ``[layer prompt]``.
        matters: whether the answer changes, ``[layer prompt]``; an answer that names e3 both
            times has not.
    """

    base: Tensor
    change: Tensor
    matters: np.ndarray


def scores_name(layer: int) -> str:
    """Where attention is masked."""
    return f"blocks.{layer}.attn.hook_attn_scores"


def possible_pairs(task: TwoHopTask) -> list[Pair]:
    """Pairs of spans whose key stands before the query in every prompt: t2 and t1 first."""
    found: list[Pair] = []
    seen: set[tuple] = set()
    for query in ("t2", "e1", "r1", "r2"):
        for key in ("t1", "e1", "r1", "r2"):
            at = tuple(task.spans[query].tolist()), tuple(task.spans[key].tolist())
            if (task.spans[key] < task.spans[query]).all() and at not in seen:
                seen.add(at)
                found.append((query, key))
    return found


def check_pairs(model, task: TwoHopTask, pairs: Sequence[Pair], window: int) -> None:
    """Raises TaskError for pairs or a window that mean nothing.

    Raises:
        UnsupportedHookError: a layer without attention scores.
    """
    require_hooks(model, [scores_name(layer) for layer in range(model.cfg.n_layers)])
    if window < 0:
        raise TaskError(f"window={window} must be 0 or more layers to each side.")
    if not pairs:
        raise TaskError("No pair of positions was given: name a query and a key.")
    for query, key in pairs:
        if query not in SPANS or key not in SPANS:
            raise TaskError(f"({query}, {key}) must be a query and a key of {', '.join(SPANS)}.")
        late = int((task.spans[key] >= task.spans[query]).sum())
        if late:
            raise TaskError(
                f"In {late} of {len(task)} prompts {key} does not stand before {query}, which "
                "therefore cannot look at it. Name the later position first."
            )


def other_keys(queries: Tensor, keys: Tensor, seed: int) -> Tensor:
    """For each prompt another key position before the query, drawn by the seed, ``[prompt]``.

    BOS, where attention tends to rest, is taken only where there is no other.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        free = [p for p in range(1, query) if p != key] or [0 if key else query]
        chosen.append(int(rng.choice(free)))
    return torch.tensor(chosen)


def knock_out(
    model,
    task: TwoHopTask,
    queries: Tensor,
    keys: Tensor,
    *,
    window: int,
    method: str,
    max_new_tokens: int,
    steps: Steps,
    name: str,
) -> Knockouts:
    """The main prompts continued while ``queries [prompt]`` may not attend to ``keys [prompt]``.

    In all heads of the layers from ``layer - window`` to ``layer + window`` the score of the key is
    the least number of the dtype, for every ``layer`` of the model. All layers and prompts run side
    by side. Counts ``(n_layers + 1) * len(task)`` steps.
    """
    n_layers, n = model.cfg.n_layers, len(task)
    rows = task.tokens_of(COMPOSITION)
    centres = [None, *range(n_layers)]

    def hooks(chunk: Sequence[int]):
        by_layer: defaultdict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(chunk):
            centre = centres[row // n]
            if centre is not None:
                for layer in range(max(centre - window, 0), min(centre + window + 1, n_layers)):
                    by_layer[layer].append(place)
        prompt = torch.tensor([row % n for row in chunk])
        return [
            (scores_name(layer), _masking(places, queries[prompt], keys[prompt]))
            for layer, places in by_layer.items()
        ]

    found = run_rows(
        model,
        [row for _ in centres for row in rows],
        [ids[0] for _ in centres for ids in task.answer_ids],
        n_new=n_new_tokens(method, max_new_tokens),
        hooks=hooks,
        about=f"knockout {window} {queries.tolist()} {keys.tolist()}",
        **steps.call(name, len(centres) * n),
    )
    tokens = found.tokens.unflatten(0, (len(centres), n))
    log_prob = found.log_prob.unflatten(0, (len(centres), n))
    told = [answer_texts(model, rows, tokens[i]) for i in range(len(centres))]
    own = torch.arange(n)
    right = np.stack(
        [
            names_answer(task, COMPOSITION, texts, tokens[i], method, own)
            for i, texts in enumerate(told)
        ]
    )
    differs = (tokens[1:] != tokens[:1]).any(-1).numpy()
    return Knockouts(
        base=log_prob[0],
        change=log_prob[1:] - log_prob[:1],
        matters=differs & ~(right[1:] & right[:1]),
    )


def _masking(places: Sequence[int], queries: Tensor, keys: Tensor):
    at = torch.tensor(places)

    def mask(scores: Tensor, hook) -> Tensor:
        scores = scores.clone()
        scores[at, :, queries[at], keys[at]] = torch.finfo(scores.dtype).min
        return scores

    return mask
