"""Which entity a state describes: target prompts, and how their continuations are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.hops import answer_texts
from mechbench.analyses.common.steps import Steps
from mechbench.analyses.common.target_prompts import DESCRIPTION, LENS, target_of
from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.interventions.patchscope import check_layers, decode_states, states_at
from mechbench.results.query_groups import ENTITIES
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION, SPANS, Entity, TwoHopQuery

DECODINGS = ("sample", "greedy", "argmax")
_TOP_K = 50  # what Hugging Face's sampling took where nothing else was said
_ENDS = (" ", ",", ".", ":")


@dataclass(frozen=True)
class Decoding:
    """How states are decoded.

    Attributes:
        prompt: one of the named prompts, or a text whose last ``x`` is the placeholder.
        method: "sample" (one continuation per seed), "greedy" or "argmax" (the first token).
        seeds, max_new_tokens: of the continuations.
    """

    prompt: str = DESCRIPTION
    method: str = "sample"
    seeds: tuple[int, ...] = (0, 1, 2)
    max_new_tokens: int = 10

    @property
    def n_samples(self) -> int:
        """Continuations of each pair of layers."""
        return len(self.seeds) if self.method == "sample" else 1

    def options(self) -> dict[str, Any]:
        """Arguments of ``decode_states``."""
        sampled = self.method == "sample"
        return {
            "seeds": self.seeds if sampled else (),
            "top_k": _TOP_K if sampled else None,
            "max_new_tokens": 1 if self.method == "argmax" else self.max_new_tokens,
        }


@dataclass(frozen=True)
class Descriptions:
    """What the states at one position of each query describe.

    Attributes:
        hits: ``[entity source_layer target_layer prompt]``: decoded from any sample.
        control: the same of the entities of each query's partner.
        texts: of the first sample, ``[source_layer target_layer prompt]``.
    """

    hits: np.ndarray
    control: np.ndarray
    texts: np.ndarray


def check_decoding(model, task: TwoHopTask, decoding: Decoding, where: Sequence[str]) -> None:
    """Raises TaskError or TokenizerError for a decoding that cannot be done."""
    unknown = [name for name in where if name not in SPANS]
    if unknown or not where or len(set(where)) < len(where):
        raise TaskError(f"where={list(where)} must name some of {', '.join(SPANS)}, each once.")
    check_method_of(model, decoding)
    target_of(model, task, decoding.prompt, [0])


def check_method_of(model, decoding: Decoding) -> None:
    """Raises TaskError or TokenizerError for a method that is unknown or cannot be used."""
    if decoding.method not in DECODINGS:
        raise TaskError(
            f"method={decoding.method!r} is not known. {did_you_mean(decoding.method, DECODINGS)}"
        )
    if decoding.method == "sample" and not decoding.seeds:
        raise TaskError("method='sample' needs at least one seed.")
    if decoding.method != "argmax" and (model.tokenizer is None or decoding.prompt == LENS):
        raise TokenizerError(
            f"method={decoding.method!r} reads text that follows a prompt: give a model with a "
            "tokenizer and a prompt, or use method='argmax'."
        )


def describe(
    model,
    task: TwoHopTask,
    where: str,
    decoding: Decoding,
    source_layers: Sequence[int],
    target_layers: Sequence[int],
    steps: Steps,
) -> Descriptions:
    """What the states of every query at the span ``where`` describe, for each pair of layers.

    Counts as many steps as there are continuations.
    """
    target = target_of(model, task, decoding.prompt, target_layers)
    check_layers(model, target.layers)
    rows = task.tokens_of(COMPOSITION)
    states = states_at(model, rows, task.spans[where].tolist(), source_layers)
    n_cells = len(source_layers) * len(target.layers) * len(task) * decoding.n_samples
    call = steps.call(f"descriptions-{where}", n_cells)
    decoded = decode_states(model, states, target, **decoding.options(), **call).tokens
    flat = decoded.flatten(0, 3)
    texts = np.array(answer_texts(model, target.rows(len(flat)), flat), dtype=str)
    texts = texts.reshape(decoded.shape[:-1])
    own = torch.arange(len(task))
    hits, control = (
        _hits(task, decoded, texts, of, decoding.method) for of in (own, task.partners)
    )
    return Descriptions(hits, control, texts[0])


def described(text: str, query: TwoHopQuery) -> str | None:
    """The entity of a query that a continuation describes: "e1", "e2", "e3" or None.

    The first of them of which a name stands behind a colon (``: name`` and then a space, comma,
    full stop or colon), or before one (``name: ``), in any case.

    Source: Biran et al. 2024, read in their released code.
    """
    lowered = text.strip().replace("\n", " ").lower()
    for label, entity in zip(ENTITIES, (query.e1, query.e2, query.e3), strict=True):
        if any(sign in lowered for sign in _signs(entity)):
            return label
    return None


def _signs(entity: Entity) -> list[str]:
    names = [name.lower() for name in entity.names]
    behind = [f": {name}{end}" for name in names for end in _ENDS]
    return behind + [f"{name}: " for name in names]


def _hits(
    task: TwoHopTask, decoded: Tensor, texts: np.ndarray, of: Tensor, method: str
) -> np.ndarray:
    """Whether each query's states describe the entities of the query ``of [prompt]``."""
    hits = np.zeros((len(ENTITIES), *texts.shape), dtype=bool)
    for i, j in enumerate(of.tolist()):
        if method == "argmax":
            first = decoded[..., i, 0]
            e1 = int(task.clean[j, task.spans["e1"][j]])
            for entity, ids in enumerate(((e1,), task.bridge_ids[j], task.answer_ids[j])):
                hits[entity, ..., i] = torch.isin(first, torch.tensor(ids)).numpy()
            continue
        known: dict[str, str | None] = {}
        for cell in np.ndindex(texts.shape[:-1]):
            text = str(texts[cell][i])
            if text not in known:
                known[text] = described(text, task.queries[j])
            label = known[text]
            if label is not None:
                hits[(ENTITIES.index(label), *cell, i)] = True
    return np.logical_or.reduce(hits, axis=1)  # over samples
