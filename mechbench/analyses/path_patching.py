"""Path patching: which heads act on chosen inputs of other heads, or on the logits, directly."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr

from mechbench.analyses.common.controls import RandomDirection
from mechbench.analyses.common.edges import pairs_and_metric
from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import HookNameError
from mechbench.interventions.path_patching import Receiver, path_patch
from mechbench.interventions.runs import Runs
from mechbench.interventions.sources import FromRun, Source
from mechbench.results.path_patching import TO_LOGITS, PathPatching
from mechbench.shapes import ANSWER, HEAD, LAYER, PROMPT
from mechbench.tasks.base import Task

_WRITTEN = re.compile(r"(\d+)\.(\d+)\.([qkv])")


@torch.inference_mode()
def path_patching(
    model,
    task: Task,
    *,
    receivers: Sequence[str] = (TO_LOGITS,),
    through_mlps: bool = False,
    corruption: str | None = None,
    control: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> PathPatching:
    """The effect of sending each head's corrupted output into the receivers alone.

    All other heads keep their clean output, so the change travels along the residual stream; what
    follows the receivers is computed anew.

    Args:
        receivers: "logits", or inputs of heads such as "8.6.q", "7.3.k", patched together.
        through_mlps: let the MLPs on the way see the change too.
        corruption: one of the task's; its default where None.
        control: also send a random direction of the same length.

    Raises:
        HookNameError: receivers that cannot be read, or that the model does not have.
        TaskError: an unknown corruption, or fewer than two prompts.
        UnsupportedHookError: a model whose blocks cannot be entered or whose heads do not add up.

    Source: Wang et al. 2022, appendix B (``through_mlps=True``); direct edges as Goldowsky-Dill et
    al. 2023; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    chosen = _receivers(receivers)
    pairs, metric = pairs_and_metric(task, corruption, seed=seed)
    n_cells = model.cfg.n_layers * model.cfg.n_heads
    steps = Steps(n_cells * (1 + control), progress, checkpoint)

    def swept(name: str, source: Source):
        options = steps.call(name, n_cells)
        found = path_patch(
            model,
            pairs,
            metric,
            receivers=chosen,
            through_mlps=through_mlps,
            source=source,
            **options,
        )
        options["progress"](n_cells, n_cells)  # paths to the logits do not report
        return found

    found = swept("paths", FromRun("corrupt"))
    effect = _labelled(found.effect, metric.name)
    random = None
    if control:
        runs = Runs(model, pairs)
        runs.need("clean", [f"blocks.{layer}.attn.hook_z" for layer in range(model.cfg.n_layers)])
        sent = swept("control", RandomDirection(runs["clean"], seed))
        random = estimate(_labelled(sent.effect, metric.name), seed=seed)
    return PathPatching(
        receivers=tuple(receivers),
        through_mlps=through_mlps,
        metric=metric.name,
        corruption=str(pairs.source.get("corruption", "")),
        effect=effect,
        summary=estimate(effect, seed=seed),
        control=random,
        base=found.base,
        provenance=clock.provenance(model, task, seed=seed),
    )


def _receivers(written: Sequence[str]) -> list[Receiver] | None:
    """None for the logits."""
    if list(written) == [TO_LOGITS]:
        return None
    found = []
    for text in written:
        match = _WRITTEN.fullmatch(str(text))
        if match is None:
            raise HookNameError(
                f"{text!r} is not a receiver: give inputs of heads such as '8.6.q' (layer, head, "
                f"input), or [{TO_LOGITS!r}] alone."
            )
        found.append(Receiver(int(match[1]), int(match[2]), match[3]))
    if not found:
        raise HookNameError(f"No receivers were given: name at least one, or [{TO_LOGITS!r}].")
    return found


def _labelled(effect: xr.DataArray, name: str) -> xr.DataArray:
    ordered = effect.transpose(ANSWER, LAYER, HEAD, PROMPT)
    return ordered.assign_attrs(
        units=effect.attrs.get("units", ""), long_name=f"{name} patched - {name} clean"
    )
