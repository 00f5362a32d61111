"""Reading the states of any task's prompts through a target prompt of any model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mechbench.analyses.common.descriptions import Decoding, check_method_of
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.hops import answer_texts
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.target_prompts import LENS, target_of
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError, did_you_mean
from mechbench.interventions.patchscope import (
    Decoded,
    Mapping,
    Target,
    check_layers,
    decode_states,
    states_at,
)
from mechbench.models.loading import load_model
from mechbench.results.patchscope import SAMPLE, SHOWN, Patchscope
from mechbench.results.query_groups import SOURCE_LAYER, TARGET_LAYER
from mechbench.shapes import PROMPT
from mechbench.tasks.base import Task
from mechbench.tasks.pairs import PromptPairs

_ANSWER = "answer"


@torch.inference_mode()
def patchscope(
    model,
    task: Task,
    *,
    where: str = _ANSWER,
    prompt: str = LENS,
    source_layers: Sequence[int] | None = None,
    target_layers: Sequence[int] | None = None,
    target_model: str | None = None,
    mapping: str | None = None,
    method: str = "argmax",
    seeds: Sequence[int] = (0, 1, 2),
    max_new_tokens: int = 10,
    n_shown: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Patchscope:
    """Whether states say the task's answer when they are written into a target prompt.

    Args:
        where: a span of the task, or "answer", the position that predicts the (last) answer.
        prompt: as in ``entity_description``: a named prompt or a text with a placeholder ``x``.
            "second_hop" and "composition" are each query's own prompts with the state for e2, e1.
        source_layers, target_layers: blocks, all by default.
        target_model: name or folder of the model that reads the target prompt; this one by default.
        mapping: a ``.safetensors`` file with ``W [d_source d_target]`` and, where there is one,
            ``b [d_target]``, from one residual space to the other.
        method: "argmax" (the first token), "greedy" or "sample" (one continuation per seed).
        n_shown: prompts whose continuations are kept as text.

    Raises:
        TaskError: an unknown span or method, models of different width without a mapping, a mapping
            that cannot be read or does not fit, no token for the placeholder, a prompt too long.
        UnsupportedHookError: a layer that a model does not have.
        ModelNotFoundError: no such target model.

    Source: Ghandeharioun et al. 2024; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    decoding = Decoding(prompt, method, tuple(seeds), max_new_tokens)
    reader = model if target_model is None else load_model(target_model)
    check_method_of(reader, decoding)
    pairs = task.pairs()
    rows, positions = _rows(model, pairs, where)
    sources = list(range(model.cfg.n_layers) if source_layers is None else source_layers)
    every = list(range(reader.cfg.n_layers))
    target = target_of(reader, task, prompt, every if target_layers is None else target_layers)
    check_layers(model, sources)
    check_layers(reader, target.layers)
    between = None if mapping is None else _mapping(mapping)
    n_cells = len(sources) * len(target.layers) * len(rows) * decoding.n_samples
    steps = Steps(n_cells, progress, checkpoint)
    decoded = decode_states(
        reader,
        states_at(model, rows, positions, sources),
        target,
        mapping=between,
        **decoding.options(),
        **steps.call("continuations", n_cells),
    )
    said = _Said(model, reader, pairs, target, decoded)
    axes = {SOURCE_LAYER: sources, TARGET_LAYER: target.layers, PROMPT: range(len(rows))}
    own, other = (
        labelled(said.of(shift), axes, units="share", meaning="says the answer") for shift in (0, 1)
    )
    return Patchscope(
        where=where,
        prompt=prompt,
        target=reader.source.name,
        mapping="none" if mapping is None else Path(mapping).name,
        method=method,
        n_new=decoded.tokens.shape[-1],
        how=decoded.receipt.method,
        n_patches=decoded.receipt.n_cells,
        share=estimate(own.astype(float), seed=seed),
        control=estimate(other.astype(float), seed=seed),
        norms=_norms(decoded, target),
        texts=_texts(said.texts[..., :n_shown], axes),
        read=_read(model, rows[:n_shown], positions[:n_shown]),
        answers=tuple(said.answers[:n_shown]),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _rows(model, pairs: PromptPairs, where: str) -> tuple[list[Tensor], list[int]]:
    """The prompts up to the position that is read, and that position."""
    if where == _ANSWER:
        positions = pairs.answer_positions[:, -1]
    elif where in pairs.spans:
        positions = pairs.spans[where]
    else:
        known = (_ANSWER, *pairs.spans)
        raise TaskError(f"The task has no span called {where!r}. {did_you_mean(where, known)}")
    at = positions.tolist()
    rows = list(pairs.clean)
    if model.capabilities.causal:  # what comes after does not matter, padding included
        rows = [row[: position + 1] for row, position in zip(rows, at, strict=True)]
    return rows, at


def _read(model, rows: Sequence[Tensor], positions: Sequence[int]) -> tuple[str, ...]:
    """Prompts up to a position as text, without special tokens; labels where there is no text."""
    parts = [row[: at + 1].tolist() for row, at in zip(rows, positions, strict=True)]
    if model.tokenizer is None:
        return tuple(" ".join(token_labels(model, ids)) for ids in parts)
    return tuple(model.tokenizer.decode(ids, skip_special_tokens=True) for ids in parts)


def _mapping(path: str) -> Mapping:
    """States times ``W`` plus ``b``."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TaskError(f"The mapping {path!r} cannot be read: {error}.") from error
    if "W" not in found or found["W"].dim() != 2:
        raise TaskError(
            f"{path!r} holds {sorted(found)}, and a mapping is W [d_source d_target] and perhaps b."
        )
    W, b = found["W"], found.get("b")

    def mapped(states: Tensor) -> Tensor:
        if states.shape[-1] != W.shape[0]:
            raise TaskError(
                f"The mapping {path!r} takes states of width {W.shape[0]}, and the source's are "
                f"{states.shape[-1]} wide."
            )
        out = states @ W.to(states)
        return out if b is None else out + b.to(states)

    return mapped


class _Said:
    """Continuations as text, and whether they say the answers of a task."""

    def __init__(self, model, reader, pairs: PromptPairs, target: Target, decoded: Decoded):
        flat = decoded.tokens.flatten(0, 3)
        texts = answer_texts(reader, target.rows(len(flat)), flat)
        self.texts = np.array(texts, dtype=str).reshape(decoded.tokens.shape[:-1])
        self.answers = token_labels(model, pairs.answers[:, -1].tolist())
        if model.tokenizer is not None:
            self.answers = [model.tokenizer.decode([i]) for i in pairs.answers[:, -1].tolist()]
        self._whole_words = model.tokenizer is None

    def of(self, shift: int) -> np.ndarray:
        """Whether any sample says the answer of the prompt ``shift`` further on, ``[s t prompt]``.

        In any case; labels of tokens without a tokenizer must be whole words.
        """
        n = len(self.answers)
        found = np.zeros(self.texts.shape, dtype=bool)
        for i in range(n):
            answer = self.answers[(i + shift) % n].strip().lower()
            found[..., i] = np.vectorize(lambda text, a=answer: self._says(text, a), otypes=[bool])(
                self.texts[..., i]
            )
        return np.logical_or.reduce(found, axis=0)

    def _says(self, text: str, answer: str) -> bool:
        lowered = str(text).lower()
        return bool(answer) and answer in (lowered.split() if self._whole_words else lowered)


def _norms(decoded: Decoded, target: Target) -> xr.DataArray:
    values = np.array([fired.rms_norm for fired in decoded.receipt.fired])
    return labelled(values, {TARGET_LAYER: target.layers}, units="1", meaning="norm of the change")


def _texts(texts: np.ndarray, axes: dict) -> xr.DataArray:
    coords = {
        SAMPLE: range(texts.shape[0]),
        SOURCE_LAYER: axes[SOURCE_LAYER],
        TARGET_LAYER: axes[TARGET_LAYER],
        SHOWN: range(texts.shape[-1]),
    }
    return xr.DataArray(texts, dims=tuple(coords), coords={k: list(v) for k, v in coords.items()})
