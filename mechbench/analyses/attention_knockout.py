"""Where two-hop queries move information: attention between two positions taken away."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.hops import MAX_NEW_TOKENS, check_method, n_new_tokens
from mechbench.analyses.common.knockout import (
    check_pairs,
    knock_out,
    other_keys,
    possible_pairs,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.query_groups import (
    by_group,
    check_groups,
    first_layer,
    n_label_steps,
    query_groups,
)
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.attention_knockout import PAIR, AttentionKnockout
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.two_hop import TwoHopTask


@torch.inference_mode()
def attention_knockout(
    model,
    task: TwoHopTask,
    *,
    pairs: Sequence[Sequence[str]] | None = None,
    window: int = 3,
    method: str = "generate",
    max_new_tokens: int = MAX_NEW_TOKENS,
    labels: str | None = None,
    most: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> AttentionKnockout:
    """How answers change when one position may not attend to another, layer by layer.

    Args:
        pairs: (query, key) of "t1", "t2", "e1", "r1", "r2"; by default all of which the key stands
            before the query, with t2 to t1 first.
        window: layers to each side of the one in the middle that are masked, too.
        method: "generate", the greedy text; or "argmax", the first token.
        max_new_tokens: of "generate". The mask acts while the prompt is processed.
        labels: "argmax" or "generate": look at the correct and the incorrect set, as ``hop_labels``
            finds them; None (null) looks at all queries.
        most: at most so many queries of each group, drawn by the seed.

    Raises:
        TaskError: unknown positions, a key that does not stand before its query, a window below 0,
            no query in either set, prompts that do not fit the context.
        UnsupportedHookError: a layer without attention scores.
        TokenizerError: "generate" without a tokenizer.

    Source: Geva et al. 2023 and Biran et al. 2024; the control is our choice.
    """
    clock = Clock()
    check_groups(model, task, labels, most)
    check_method(model, method)
    wanted = possible_pairs(task) if pairs is None else [_pair(pair) for pair in pairs]
    check_pairs(model, task, wanted, window)
    per_pair = 2 * (model.cfg.n_layers + 1) * len(task)
    n_steps = n_label_steps(task, labels) + per_pair * len(wanted)
    steps = Steps(n_steps, progress, checkpoint)
    groups = query_groups(model, task, labels=labels, most=most, seed=seed, steps=steps)
    task = groups.task
    options = {"window": window, "method": method, "max_new_tokens": max_new_tokens}
    found, controls = [], []
    for query, key in wanted:
        queries, keys = task.spans[query], task.spans[key]
        others = other_keys(queries, keys, seed)
        for kind, at, into in (("", keys, found), ("-control", others, controls)):
            name = f"knockout-{query}-{key}{kind}"
            into.append(knock_out(model, task, queries, at, **options, steps=steps, name=name))
    steps.finish()
    axes = {
        PAIR: [f"{query} to {key}" for query, key in wanted],
        LAYER: range(model.cfg.n_layers),
        PROMPT: range(len(task)),
    }
    change, control_change = (_change(each, axes) for each in (found, controls))
    matters, control_matters = (_matters(each, axes) for each in (found, controls))
    base = labelled(found[0].base, {PROMPT: axes[PROMPT]}, units="nats", meaning="log-probability")
    return AttentionKnockout(
        method=method,
        n_new=n_new_tokens(method, max_new_tokens),
        window=window,
        counts=groups.counts,
        base=by_group(base, groups, seed=seed),
        change=by_group(change, groups, seed=seed),
        control_change=by_group(control_change, groups, seed=seed),
        matters=by_group(matters, groups, seed=seed),
        control_matters=by_group(control_matters, groups, seed=seed),
        anywhere=by_group(matters.any(LAYER, keep_attrs=True), groups, seed=seed),
        control_anywhere=by_group(control_matters.any(LAYER, keep_attrs=True), groups, seed=seed),
        first=first_layer(matters),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _pair(pair: Sequence[str]) -> tuple[str, str]:
    if isinstance(pair, str) or len(pair) != 2:
        raise TaskError(f"{pair!r} is not a pair of positions: give [query, key].")
    return pair[0], pair[1]


def _change(found: list, axes: dict) -> xr.DataArray:
    values = torch.stack([each.change for each in found])
    return labelled(values, axes, units="nats", meaning="log-probability, masked minus not")


def _matters(found: list, axes: dict) -> xr.DataArray:
    values = np.stack([each.matters for each in found])
    return labelled(values, axes, units="share", meaning="answer changes")
