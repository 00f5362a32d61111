"""Which entity a state describes: target prompts, and how their continuations are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.hops import answer_texts
from mechbench.analyses.common.steps import Steps
from mechbench.errors import TaskError, TokenizerError, did_you_mean
from mechbench.interventions.patchscope import Target, check_layers, decode_states, states_at
from mechbench.results.query_groups import ENTITIES
from mechbench.tasks.base import Task
from mechbench.tasks.tokens import pieces, text_ids
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION, SPANS, Entity, TwoHopQuery

DESCRIPTION, REPEAT, WORDS, LENS = "description", "repeat", "words", "lens"
PROMPTS = {
    DESCRIPTION: (
        "Syria: Syria is a country in the Middle East, Leonardo DiCaprio: Leonardo DiCaprio is an "
        "American actor, Samsung: Samsung is a South Korean multinational corporation, x"
    ),
    REPEAT: "Syria: Syria, Leonardo DiCaprio: Leonardo DiCaprio, Samsung: Samsung, x",
}
"""Target prompts; the placeholder is their last token. Source: Ghandeharioun et al. 2024."""

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


def target_of(model, task: Task, prompt: str, layers: Sequence[int]) -> Target:
    """The target prompt as ids, BOS first, and where its placeholder is.

    ``words``, for two-hop queries, repeats three entities (``a : a , b : b , c : c , x :``), and
    ``lens`` is no prompt: the state is written after the last block and read at once.

    Raises:
        TaskError: too few entities, or a text whose placeholder is no token of its own.
        TokenizerError: text without a tokenizer.
    """
    if prompt == LENS:
        last = model.cfg.n_layers - 1
        return Target(prompts=[task.clean[0, :1]], positions=[0], layers=[last])
    if model.tokenizer is None:
        raise TokenizerError(
            f"{model.cfg.model_name!r} has no tokenizer for the prompt {prompt!r}: use 'lens'."
        )
    text = _words(task) if prompt == WORDS else PROMPTS.get(prompt, prompt)
    ids = text_ids(model.tokenizer, text)
    placeholder = _words(task).split()[-2] if prompt == WORDS else "x"
    wanted = text_ids(model.tokenizer, f" {placeholder}")
    places = [i for i, token in enumerate(ids) if [token] == wanted]
    if not places:
        raise TaskError(
            f"The target prompt {text!r} has no token ' {placeholder}' to write states at: "
            f"{pieces(model.tokenizer, ids)}. Put ' {placeholder}' where the state belongs."
        )
    bos = [] if model.tokenizer.bos_token_id is None else [model.tokenizer.bos_token_id]
    position = len(bos) + places[-1]
    return Target(prompts=[torch.tensor([*bos, *ids])], positions=[position], layers=list(layers))


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
    texts = np.array(answer_texts(model, list(target.prompts) * len(flat), flat), dtype=str)
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


def _hits(task: TwoHopTask, decoded: Tensor, texts: np.ndarray, of: Tensor, method: str):
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
    return hits.any(1)


def _words(task: Task) -> str:
    """A repetition of three entities of the task and a colon after the placeholder."""
    if not isinstance(task, TwoHopTask):
        raise TaskError(
            f"The target prompt 'words' is made of a two-hop task's entities, not of {task.name!r}."
        )
    names = sorted({entity.name for q in task.queries for entity in (q.e1, q.e2, q.e3)})
    if len(names) < 4:
        raise TaskError(f"The target prompt 'words' needs four entities, and there are {names}.")
    *shown, placeholder = names[:4]
    return " ".join([*(f"{name} : {name} ," for name in shown), placeholder, ":"])
