"""Where every head of a layer looks, in one prompt."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.attention import head_activations, pattern_name
from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.heads import head_labels
from mechbench.analyses.common.one_prompt import prompt_tokens
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.token_labels import token_labels
from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.results.attention_view import KEY, QUERY, AttentionView
from mechbench.shapes import HEAD
from mechbench.tasks.base import Task

_ATTENTION = ".attn.hook_"


@torch.inference_mode()
def attention_view(
    model,
    task: Task,
    *,
    layer: int = 0,
    prompt: int = 0,
    run: Literal["clean", "corrupted"] = "clean",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> AttentionView:
    """The attention patterns of all heads of one layer in one prompt.

    Args:
        prompt: its number among those of the task.
        run: the clean prompt, or the corrupted one of the same pair.

    Raises:
        TaskError: a layer, prompt or run that is not there.
        UnsupportedHookError: a layer that forms no attention pattern; what it has is named.

    Source: patterns after Vig 2019 (arXiv 1906.05714); one row at a time is our choice.
    """
    clock = Clock()
    if not 0 <= layer < model.cfg.n_layers:
        raise TaskError(f"layer={layer} is not there: use 0 to {model.cfg.n_layers - 1}.")
    _require_pattern(model, layer)
    tokens = prompt_tokens(model, task, prompt, run)
    steps = Steps(1, progress, checkpoint)
    (pattern,) = head_activations(model, tokens, pattern_name, [layer])[layer]
    steps.finish()
    ids = tokens[0].tolist()
    places = {QUERY: list(range(len(ids)))}
    heads = head_labels([(layer, head) for head in range(len(pattern))])
    axes = {HEAD: heads, QUERY: range(pattern.shape[1]), KEY: range(pattern.shape[2])}
    return AttentionView(
        layer=layer,
        prompt=prompt,
        run=run,
        pattern=labelled(pattern, axes, units="probability", meaning="attention"),
        tokens=xr.DataArray(np.array(token_labels(model, ids), dtype=str), coords=places),
        token_ids=xr.DataArray(np.array(ids), coords=places),
        provenance=clock.provenance(model, task, seed=seed, notes=(f"prompt {prompt}, {run}",)),
    )


def _require_pattern(model, layer: int) -> None:
    if pattern_name(layer) in model.hook_dict:
        return
    with_pattern = [str(l) for l in range(model.cfg.n_layers) if pattern_name(l) in model.hook_dict]
    start = f"blocks.{layer}{_ATTENTION}"
    own = [name.removeprefix(start) for name in model.hook_dict if name.startswith(start)]
    raise UnsupportedHookError(
        f"Layer {layer} of {model.cfg.model_name!r} forms no attention pattern; what it computes "
        f"instead can be read as {', '.join(own) or 'nothing by name'}. Layers of this model that "
        f"form patterns: {', '.join(with_pattern) or 'none'}."
    )
