"""The plain reference: one cell, one full forward pass, every logit. Slow and obvious."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mechbench.interventions.patches import Cell
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Selection, select
from mechbench.interventions.sources import Source
from mechbench.tasks.metrics import Metric


@torch.inference_mode()
def reference_values(model, runs: Runs, cells: Sequence[Cell], metric: Metric) -> Tensor:
    """The metric of each cell, ``[cell prompt answer]``."""
    pairs = runs.pairs
    out = []
    for cell in cells:
        hooks = []
        for patch in cell:
            selection = select(patch.site, len(pairs), pairs.n_positions, pairs.spans)
            hooks.append((selection.hook_name, patch_hook(selection, patch.source, runs)))
        logits = model.run_with_hooks(runs.base_tokens, fwd_hooks=hooks)
        logits = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        out.append(metric(logits if metric.vocab is None else logits[..., metric.vocab]))
    return torch.stack(out)


def patch_hook(selection: Selection, source: Source, runs: Runs):
    """A hook that writes ``source`` at the selection, prompt by prompt, into all prompts."""

    def write(activation: Tensor, hook) -> Tensor:
        run = runs[source.run] if source.run else {}
        value = source.value(selection.hook_name, activation, run)
        patched = activation.clone()
        for prompt in range(len(activation)):
            index = selection.index_at(prompt, _positions(selection, prompt))[1:]
            patched[prompt][index] = value[prompt][index]
        return patched

    return write


def _positions(selection: Selection, prompt: int):
    return slice(None) if selection.positions is None else selection.positions[prompt]
