"""The text that queries are continued by when one pair of layers is patched, and its controls."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.hops import (
    MAX_NEW_TOKENS,
    answer_texts,
    check_method,
    n_new_tokens,
    names_answer,
)
from mechbench.analyses.common.layer_pairs import PLACES, noise_state
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.interventions.patched_generation import StatePatch, generate_patched
from mechbench.interventions.patchscope import check_layers
from mechbench.interventions.states import block_outputs
from mechbench.results.back_patched_text import NAMED, QUERY, RUN, RUNS, WHAT, BackPatchedText
from mechbench.shapes import PROMPT
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION, FIRST_HOP


@torch.inference_mode()
def back_patched_text(
    model,
    task: TwoHopTask,
    *,
    source_layer: int | None = None,
    target_layer: int = 0,
    position: str = "t1",
    queries: Sequence[int] | None = None,
    method: str = "generate",
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> BackPatchedText:
    """What a model says unpatched, with one state written elsewhere, and with the controls.

    With temperature 0 these are the texts of the same cell of ``back_patching``.

    Args:
        source_layer: whose output is written; the last layer by default.
        target_layer: whose output is overwritten.
        position: where, "t1" or "t2".
        queries: numbers of the task's queries, all by default.
        method: "generate" scores text, "argmax" the first token alone.
        max_new_tokens: of "generate".
        temperature: 0 takes the likeliest tokens, more samples them.
        seed: of the noise, of samples, and of intervals.

    Raises:
        TaskError: an unknown position or method, no query or one that there is not, source and
            target the same, a prompt that does not fit the context.
        UnsupportedHookError: a layer that the model does not have.
        TokenizerError: "generate" without a tokenizer.

    Source: Biran et al. 2024, section 5; the controls are our choice.
    """
    clock = Clock()
    check_size(task, 2)
    check_method(model, method)
    source = model.cfg.n_layers - 1 if source_layer is None else source_layer
    chosen = list(range(len(task)) if queries is None else queries)
    _check(model, task, source, target_layer, position, chosen)
    steps = Steps(len(RUNS) * len(chosen), progress, checkpoint)
    states, patches = _patches(model, task, chosen, position, source, target_layer, seed)
    rows = [task.tokens_of()[q] for q in chosen]
    tokens = generate_patched(
        model,
        rows,
        states,
        patches,
        max_new_tokens=n_new_tokens(method, max_new_tokens),
        temperature=temperature,
        seed=seed,
        **steps.call("texts", len(patches)),
    ).tokens.view(len(RUNS), len(chosen), -1)
    steps.finish()
    texts = [answer_texts(model, rows, run) for run in tokens]
    axes = {NAMED: WHAT, RUN: RUNS, PROMPT: chosen}
    named = np.stack(
        [_named(task, chosen, *run, method) for run in zip(texts, tokens, strict=True)], 1
    )
    values = labelled(named, axes, units="share", meaning="texts that name it")
    return BackPatchedText(
        position=position,
        source_layer=source,
        target_layer=target_layer,
        method=method,
        n_new=n_new_tokens(method, max_new_tokens),
        temperature=float(temperature),
        questions=tuple(task.texts(COMPOSITION)[q] for q in chosen),
        answers=tuple(task.queries[q].e3.name for q in chosen),
        bridges=tuple(task.queries[q].e2.name for q in chosen),
        others=tuple(task.texts(COMPOSITION)[int(task.partners[q])] for q in chosen),
        texts=xr.DataArray(
            np.array(texts, dtype=str), dims=(RUN, QUERY), coords={RUN: list(RUNS), QUERY: chosen}
        ),
        named=values.rename({PROMPT: QUERY}),
        share=estimate(values.astype(float), seed=seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _check(
    model, task: TwoHopTask, source: int, target: int, position: str, queries: Sequence[int]
) -> None:
    if position not in PLACES:
        raise TaskError(f"position={position!r} must be one of {', '.join(PLACES)}.")
    wrong = [q for q in queries if not 0 <= q < len(task)]
    if wrong or not queries or len(set(queries)) < len(queries):
        raise TaskError(f"queries={list(queries)} must name some of 0..{len(task) - 1}, each once.")
    check_layers(model, [source, target])
    if source == target:
        raise TaskError(
            f"source_layer and target_layer are both {source}, so that nothing would change: give "
            "two different layers."
        )


def _patches(
    model,
    task: TwoHopTask,
    queries: Sequence[int],
    place: str,
    source: int,
    target: int,
    seed: int,
) -> tuple[Tensor, list[StatePatch]]:
    """The states to write, and a patch for each of ``RUNS`` and each query, in this order."""
    needed = sorted({*queries, *(int(task.partners[q]) for q in queries)})
    outputs = block_outputs(
        model, [task.tokens_of()[q] for q in needed], task.spans[place][needed][:, None]
    )[:, 0]
    of = {q: outputs[i] for i, q in enumerate(needed)}
    written = [
        (target, [of[q][target] for q in queries]),  # what is there anyway
        (target, [of[q][source] for q in queries]),
        (target, [of[int(task.partners[q])][source] for q in queries]),
        (
            target,
            [noise_state(of[q], source, target, seed=seed, query=q, place=place) for q in queries],
        ),
        (source, [of[q][target] for q in queries]),
    ]
    patches = [
        StatePatch(i, layer, int(task.spans[place][query]), run * len(queries) + i)
        for run, (layer, _) in enumerate(written)
        for i, query in enumerate(queries)
    ]
    return torch.stack([state for _, states in written for state in states]), patches


def _named(
    task: TwoHopTask, queries: Sequence[int], texts: Sequence[str], tokens: Tensor, method: str
) -> np.ndarray:
    """Whether each text names what ``WHAT`` says, ``[named query]``."""
    own = torch.tensor(queries)
    asked = ((COMPOSITION, own), (FIRST_HOP, own), (COMPOSITION, task.partners[own]))
    return np.stack([names_answer(task, label, texts, tokens, method, of) for label, of in asked])
