"""Loss and metric of rows of text while the weights of a layer's experts are rewritten."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor, nn

from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.expert_actions import rewrite
from mechbench.analyses.common.expert_weights import ROWS_AT_ONCE, Texts
from mechbench.results.expert_interventions import ANSWERS, DOMAIN, EVERY, SCORED
from mechbench.shapes import PROMPT
from mechbench.tasks.base import Task


@dataclass(frozen=True)
class Reading:
    """What is read of final residual streams.

    Attributes:
        some: what is kept of some rows, ``[row ...]``, from their streams and which they are.
        score: values ``[row value]`` of all rows together, from that.
    """

    some: Callable[[Tensor, slice], Tensor]
    score: Callable[[Tensor], Tensor]


class MeasuredRows:
    """Rows of text, what is read from them, and the residual streams from which layers go on."""

    def __init__(self, model, ids: Tensor, reading: Reading, hooks: dict[int, str]):
        self._model, self._reading, self._hooks = model, reading, hooks
        self._ids = ids.to(model.cfg.device)
        self._streams: dict[int, Tensor] = {}
        self._parts = [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(ids), ROWS_AT_ONCE)]
        first = next(iter(hooks.values()))
        names = [first]
        if model.capabilities.restart_at_layer:
            names += [f"blocks.{layer}.hook_resid_pre" for layer in hooks]
        kept: dict[str, list[Tensor]] = {name: [] for name in names}
        base = []
        for part in self._parts:
            final, cache = model.run_with_cache(
                self._ids[part], names_filter=names, stop_at_layer=model.cfg.n_layers
            )
            base.append(reading.some(final, part))
            for name in names:
                kept[name].append(cache[name])
        self.base = reading.score(torch.cat(base))
        self.n_experts = kept[first][0].shape[-1]
        for layer in hooks:
            if model.capabilities.restart_at_layer:
                self._streams[layer] = torch.cat(kept[f"blocks.{layer}.hook_resid_pre"])

    def __len__(self) -> int:
        return len(self._ids)

    def after(self, layer: int, kind: str, experts: Tensor) -> Tensor:
        """The scores ``[row value]`` under an action on the experts ``[row expert]`` of a layer."""
        found = []
        for part in self._parts:

            def write(weights: Tensor, hook, rows=experts[part]) -> Tensor:
                return rewrite(weights, kind, rows)

            with self._model.hooks([(self._hooks[layer], write)]):
                found.append(self._reading.some(self._final(layer, part), part))
        return self._reading.score(torch.cat(found))

    def _final(self, layer: int, part: slice) -> Tensor:
        if layer not in self._streams:
            return self._model(self._ids[part], stop_at_layer=self._model.cfg.n_layers)
        resid = self._streams[layer][part]
        for block in self._model.blocks[layer:]:
            resid = block(resid)
        return resid


def text_losses(model, texts: Texts) -> Reading:
    """Mean cross-entropy of each row over all scored positions, and over answers: two values."""
    targets, every, answers = (
        x.flatten(0, 1).to(model.cfg.device) for x in (texts.targets, texts.every, texts.answers)
    )

    def terms(final: Tensor, part: slice) -> Tensor:
        logits = model.unembed(model.ln_final(final)).double()
        return nn.functional.cross_entropy(logits.mT, targets[part], reduction="none")

    def means(terms: Tensor) -> Tensor:
        found = [(terms * mask).sum(1) / mask.sum(1) for mask in (every, answers)]
        return torch.stack(found, dim=1).cpu()

    return Reading(terms, means)


def task_metric(model, task: Task) -> Reading:
    """The task's metric, a mean over answers: one value."""
    metric = task.metric().to(model.cfg.device)

    def at_answers(final: Tensor, part: slice) -> Tensor:
        return torch.take_along_dim(final, metric.positions[part][..., None], dim=1)

    def values(resid: Tensor) -> Tensor:
        found = metric(model.read_answers(resid, metric.vocab))
        return found.mean(-1, keepdim=True).double().cpu()

    return Reading(at_answers, values)


def losses_by_domain(values: Tensor, axes: dict, texts: Texts, seed: int) -> xr.DataArray:
    """``values [... row 2]`` with intervals over the rows of each domain."""
    by_domain = values.unflatten(-2, texts.ids.shape[:2])
    coords = {
        **axes,
        DOMAIN: texts.domains,
        PROMPT: range(texts.ids.shape[1]),
        SCORED: (EVERY, ANSWERS),
    }
    named = labelled(by_domain, coords, units="nats", meaning="cross-entropy")
    return estimate(named.transpose(PROMPT, SCORED, DOMAIN, *axes), seed=seed)


def metric_over_prompts(values: Tensor, axes: dict, units: str, seed: int) -> xr.DataArray:
    coords = {**axes, PROMPT: range(values.shape[-2])}
    return estimate(labelled(values[..., 0], coords, units=units, meaning="metric"), seed=seed)
