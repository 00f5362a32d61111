"""Which entity of a two-hop query a state describes, from every layer to every layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.descriptions import (
    Decoding,
    Descriptions,
    check_decoding,
    describe,
)
from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.query_groups import (
    by_group,
    check_groups,
    first_layer,
    n_label_steps,
    query_groups,
)
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.target_prompts import DESCRIPTION, LENS
from mechbench.interventions.patchscope import check_layers
from mechbench.results.entity_description import SHOWN, EntityDescription
from mechbench.results.query_groups import ENTITIES, ENTITY, SOURCE_LAYER, TARGET_LAYER, WHERE
from mechbench.shapes import PROMPT
from mechbench.tasks.two_hop import TwoHopTask

_SHOWN = 4


@torch.inference_mode()
def entity_description(
    model,
    task: TwoHopTask,
    *,
    where: Sequence[str] = ("t1", "t2"),
    prompt: str = DESCRIPTION,
    method: str = "sample",
    seeds: Sequence[int] = (0, 1, 2),
    max_new_tokens: int = 10,
    source_layers: Sequence[int] | None = None,
    target_layers: Sequence[int] | None = None,
    labels: str | None = None,
    most: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> EntityDescription:
    """Whether e1, e2 or e3 is decoded from block outputs written into a target prompt.

    Args:
        where: positions of the states, some of "t1", "t2", "e1", "r1", "r2".
        prompt: the target prompt: "description" and "repeat" (few-shot lines of real names),
            "words" (a repetition of the task's own entities, for bundled models), "second_hop" and
            "composition" (each query's own prompt, the state for e2 or e1), "lens" (none: the state
            is unembedded), or a text with a placeholder ``x`` as a word of its own.
        method: "sample" (one continuation per seed, temperature 1 among the 50 likeliest tokens),
            "greedy", or "argmax" (the first token, which must begin a name).
        source_layers, target_layers: blocks, all by default.
        labels: "argmax" or "generate": look at the correct and the incorrect set, as ``hop_labels``
            finds them; None (null) looks at all queries.
        most: at most so many queries of each group, drawn by the seed.

    Raises:
        TaskError: unknown names, no token for the placeholder, no query in either set, prompts
            that do not fit the context.
        UnsupportedHookError: a layer that the model does not have.
        TokenizerError: a target prompt without a tokenizer.

    Source: Ghandeharioun et al. 2024 and Biran et al. 2024; the control and "words" are our choice.
    """
    clock = Clock()
    decoding = Decoding(prompt, method, tuple(seeds), max_new_tokens)
    check_groups(model, task, labels, most)
    check_decoding(model, task, decoding, where)
    every = list(range(model.cfg.n_layers))
    sources = every if source_layers is None else list(source_layers)
    targets = every[-1:] if prompt == LENS else every
    targets = targets if target_layers is None or prompt == LENS else list(target_layers)
    check_layers(model, sources)
    check_layers(model, targets)
    cells = len(sources) * len(targets) * decoding.n_samples * len(where)
    steps = Steps(n_label_steps(task, labels) + cells * len(task), progress, checkpoint)
    groups = query_groups(model, task, labels=labels, most=most, seed=seed, steps=steps)
    found = [
        describe(model, groups.task, name, decoding, sources, targets, steps) for name in where
    ]
    steps.finish()
    pairs = {SOURCE_LAYER: sources, TARGET_LAYER: targets, PROMPT: range(len(groups.task))}
    axes = {WHERE: list(where), ENTITY: ENTITIES, **pairs}
    hits = _stacked([each.hits for each in found], axes)
    control = _stacked([each.control for each in found], axes)
    first = first_layer(hits.any(TARGET_LAYER), SOURCE_LAYER)
    is_first = (first == hits[SOURCE_LAYER]).transpose(WHERE, ENTITY, SOURCE_LAYER, PROMPT)
    return EntityDescription(
        prompt=prompt,
        method=method,
        n_samples=decoding.n_samples,
        counts=groups.counts,
        share=by_group(_any(hits), groups, seed=seed),
        control_share=by_group(_any(control), groups, seed=seed),
        cells=by_group(hits, groups, seed=seed),
        control_cells=by_group(control, groups, seed=seed),
        first=first,
        first_share=by_group(is_first.rename(None).assign_attrs(hits.attrs), groups, seed=seed),
        examples=_examples(found, list(where), pairs),
        provenance=clock.provenance(model, groups.task, seed=seed),
    )


def _stacked(values: list[np.ndarray], axes: dict) -> xr.DataArray:
    return labelled(np.stack(values), axes, units="share", meaning="decoded")


def _any(values: xr.DataArray) -> xr.DataArray:
    return values.any((SOURCE_LAYER, TARGET_LAYER), keep_attrs=True)


def _examples(found: list[Descriptions], where: list[str], pairs: dict) -> xr.DataArray:
    texts = np.stack([each.texts[..., :_SHOWN] for each in found])
    dims = (WHERE, SOURCE_LAYER, TARGET_LAYER, SHOWN)
    coords = {WHERE: where, SOURCE_LAYER: pairs[SOURCE_LAYER], TARGET_LAYER: pairs[TARGET_LAYER]}
    return xr.DataArray(texts, dims=dims, coords={**coords, SHOWN: range(texts.shape[-1])})
