"""What each ring of nested MLPs does, and how good the smaller models inside the model are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.answer_reading import AnswerReading, answer_reading
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.granularity_choice import chosen_submodels
from mechbench.analyses.common.head_weights import final_norm
from mechbench.analyses.common.inspections import require_inspection
from mechbench.analyses.common.prompt_measures import PromptMeasures, measure_prompts
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.common.weights import final_scale
from mechbench.errors import TaskError
from mechbench.results.mlp_rings import (
    ACCURACY,
    AGREEMENT,
    DIVERGENCE,
    LOSS,
    MEASURE,
    RING,
    SUBMODEL,
    MLPRings,
)
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.base import Task

Hooks = list[tuple[str, Callable]]


@torch.inference_mode()
def mlp_rings(
    model,
    task: Task,
    *,
    n_each: int = 8,
    n_random: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> MLPRings:
    """Norm, attribution, dead neurons and ablation of every ring; every granularity, and mixtures.

    Args:
        n_each: sub-models of each kind of mixture (rising, falling, drawn).
        n_random: draws of random neurons, the control of ablations and sub-models, at least 1.

    Raises:
        TaskError: no draws, a negative ``n_each``, or a metric that is not linear in the logits.
        UnsupportedHookError: a model without nested MLPs.

    Source: Devvrit et al. 2023 (sub-models, consistency); what is asked of rings is our choice.
    """
    clock = Clock()
    if n_random < 1 or n_each < 0:
        raise TaskError(f"n_random={n_random} must be at least 1 and n_each={n_each} at least 0.")
    layers = range(model.cfg.n_layers)
    require_inspection(model, "mlp_rings", [_point(layer, "ring_out") for layer in layers])
    work = _Work(model, task, n_random, seed)
    chosen = chosen_submodels(model.cfg.n_layers, len(work.rings), n_each, seed)
    n_rings = len(work.rings)
    steps = Steps(1 + (model.cfg.n_layers + 1) * n_rings + len(chosen), progress, checkpoint)
    by_ring = work.by_ring()
    steps.advance()
    by_ring |= work.ablations(steps)
    submodels = work.submodels([one for _, one in chosen], steps)
    names = [f"{kind} {'-'.join(map(str, one))}" for kind, one in chosen]
    sizes = np.array([[work.widths[i] for i in one] for _, one in chosen]).sum(1)
    outside = sum(p.numel() for p in model.parameters()) - model.cfg.n_layers * work.widths[-1] * (
        2 * model.cfg.d_model + 1
    )
    return MLPRings(
        widths=list(work.widths),
        metric_name=work.metric.name,
        metric_units=work.metric.units,
        reading=work.reading.name,
        n_random=n_random,
        n_tokens=work.pairs.clean.numel(),
        **by_ring,
        by_submodel=_by_submodel(submodels, names, work.metric.name, seed),
        random_neurons=_by_submodel(
            work.random_neurons(steps), names[:n_rings], work.metric.name, seed
        ),
        neurons=_labels(sizes, names, "neurons", "neurons that run, all layers"),
        parameters=_labels(outside + sizes * (2 * model.cfg.d_model + 1), names, "1", "parameters"),
        kind=_labels(np.array([kind for kind, _ in chosen]), names, "1", "kind of sub-model"),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _point(layer: int, name: str) -> str:
    return f"blocks.{layer}.mlp.hook_{name}"


def _labels(values: np.ndarray, names: list[str], units: str, meaning: str):
    return labelled(values, {SUBMODEL: names}, units=units, meaning=meaning)


def _by_submodel(values: Tensor, names: list[str], metric: str, seed: int):
    """``values [submodel measure prompt]`` as means with intervals."""
    axes = {
        SUBMODEL: names,
        MEASURE: [metric, ACCURACY, LOSS, AGREEMENT, DIVERGENCE],
        PROMPT: range(values.shape[-1]),
    }
    named = labelled(values, axes, units="by measure", meaning="of the sub-model")
    return estimate(named, seed=seed).transpose("estimate", MEASURE, SUBMODEL)


class _Work:
    """Runs of one model on one task, with rings and neurons switched."""

    def __init__(self, model, task: Task, n_random: int, seed: int):
        self.model, self.n_random, self.seed = model, n_random, seed
        self.pairs = task.pairs().to(model.cfg.device)
        self.metric = task.metric()
        self.reading = answer_reading(model, self.metric, self.pairs.clean)
        self.rings: tuple[slice, ...] = model.blocks[0].mlp.rings
        self.widths = [ring.stop for ring in self.rings]
        self.layers = range(model.cfg.n_layers)
        self.draw = torch.Generator().manual_seed(seed)
        self.full = self.run(self.of([len(self.rings) - 1] * model.cfg.n_layers))

    def run(self, hooks: Hooks) -> PromptMeasures:
        """The measures of the model under these hooks."""
        logits = self.model.run_with_hooks(self.pairs.clean, fwd_hooks=hooks)
        return measure_prompts(self.model, self.pairs, self.metric, logits)

    def of(self, granularities: Sequence[int]) -> Hooks:
        """Hooks that make each layer run its granularity, whatever the model is set to."""
        return [
            self.switch(layer, [ring <= i for ring in range(len(self.rings))])
            for layer, i in enumerate(granularities)
        ]

    def switch(self, layer: int, on: list[bool]) -> tuple[str, Callable]:
        """A hook that runs these rings of a layer and no others."""

        def write(gates: Tensor, hook) -> Tensor:
            return torch.tensor(on, device=gates.device).to(gates.dtype).expand_as(gates).clone()

        return _point(layer, "granularity"), write

    def only(self, layer: int, kept: Tensor) -> tuple[str, Callable]:
        """A hook that zeroes all neurons of a layer but these."""
        mask = torch.zeros(self.widths[-1], device=self.model.cfg.device)
        mask[kept] = 1
        return _point(layer, "post"), lambda post, hook: post * mask.to(post.dtype)

    def neurons(self, n: int) -> Tensor:
        """``n`` random neurons."""
        return torch.randperm(self.widths[-1], generator=self.draw)[:n]

    def everything(self) -> Hooks:
        """All rings of all layers."""
        return self.of([len(self.rings) - 1] * len(self.layers))

    def by_ring(self) -> dict[str, Any]:
        """Fields that one run of the full model gives."""
        final = f"blocks.{self.layers[-1]}.hook_resid_post"
        names = [_point(layer, part) for layer in self.layers for part in ("ring_out", "pre")]
        with self.model.hooks(self.everything()):
            _, cache = self.model.run_with_cache(self.pairs.clean, names_filter=[*names, final])
        written = torch.stack([cache[_point(layer, "ring_out")] for layer in self.layers])
        above = torch.stack([cache[_point(layer, "pre")] > 0 for layer in self.layers])
        by_neuron = above.flatten(1, 2).double().mean(1).cpu()  # [layer d_mlp]
        norm = written.double().norm(dim=-1).mean(2).permute(0, 2, 1)
        positions = self.metric.positions.to(written.device)
        at = torch.take_along_dim(cache[final], positions[..., None], 1)
        parts, shuffled = (
            self._attributed(written, at, one) for one in (self.reading, self.reading.shuffled())
        )
        meaning = "direct part of the reading"
        return {
            "norm": self._estimate(norm, "1", "length of what is written"),
            "attribution": self._estimate(parts, "logits", meaning),
            "attribution_control": self._estimate(shuffled, "logits", meaning),
            "dead": self._plain([by_neuron[:, r] == 0 for r in self.rings], "share of neurons"),
            "active": self._plain([by_neuron[:, r] for r in self.rings], "share of tokens"),
        }

    def _attributed(self, written: Tensor, resid: Tensor, reading: AnswerReading) -> Tensor:
        """Direct parts, mean over answers, ``[layer ring prompt]``."""
        positions, vocab = (x.to(resid.device) for x in (reading.positions, reading.vocab))
        onto = reading.weights.to(resid) @ self.model.W_U[:, vocab].T  # [prompt answer d_model]
        directions = final_norm(self.model).read(onto) / final_scale(self.model, resid)
        index = positions[None, :, :, None, None]
        there = torch.take_along_dim(written, index, dim=2)  # [layer prompt answer ring d_model]
        return torch.einsum("lbard,bad->lrb", there, directions) / positions.shape[1]

    def ablations(self, steps: Steps) -> dict[str, Any]:
        """The metric without each ring, and without as many random neurons."""
        rings = range(len(self.rings))
        change, control = torch.zeros(2, len(self.layers), len(rings), len(self.pairs)).double()
        everything = self.everything()
        for layer in self.layers:
            for i, ring in enumerate(self.rings):
                without = [self.switch(layer, [j != i for j in rings])]
                others = [hook for n, hook in enumerate(everything) if n != layer]
                change[layer, i] = self.run(others + without).metric - self.full.metric
                left = self.widths[-1] - (ring.stop - ring.start)
                for _ in range(self.n_random):
                    random = self.run([*everything, self.only(layer, self.neurons(left))])
                    control[layer, i] += (random.metric - self.full.metric) / self.n_random
                steps.advance()
        about = (self.metric.units, f"change of {self.metric.name}")
        return {
            "ablation": self._estimate(change, *about),
            "ablation_control": self._estimate(control, *about),
        }

    def submodels(self, chosen: Sequence[Sequence[int]], steps: Steps) -> Tensor:
        """``[submodel measure prompt]``."""
        found = []
        for one in chosen:
            found.append(self._against_full(self.run(self.of(one))))
            steps.advance()
        return torch.stack(found)

    def random_neurons(self, steps: Steps) -> Tensor:
        """As ``submodels`` of one granularity, but with random neurons; mean over draws."""
        found = []
        for width in self.widths:
            drawn = []
            for _ in range(self.n_random):
                hooks = [self.only(layer, self.neurons(width)) for layer in self.layers]
                drawn.append(self._against_full(self.run(self.everything() + hooks)))
            found.append(torch.stack(drawn).mean(0))
            steps.advance()
        return torch.stack(found)

    def _against_full(self, one: PromptMeasures) -> Tensor:
        full, sub = self.full.log_probs, one.log_probs
        agreement = (full.argmax(-1) == sub.argmax(-1)).double().mean(-1)
        divergence = (full.exp() * (full - sub)).sum(-1).double().mean(-1)
        return torch.cat([one.stacked(), torch.stack([agreement, divergence])])

    def _estimate(self, values: Tensor, units: str, meaning: str):
        """``values [layer ring prompt]`` as means with intervals."""
        axes = {LAYER: self.layers, RING: range(len(self.rings)), PROMPT: range(len(self.pairs))}
        return estimate(labelled(values, axes, units=units, meaning=meaning), seed=self.seed)

    def _plain(self, by_ring: list[Tensor], units: str):
        """The mean over neurons ``[layer neuron]`` of each ring."""
        values = torch.stack([x.double().mean(1) for x in by_ring], 1)
        axes = {LAYER: self.layers, RING: range(len(self.rings))}
        return labelled(values, axes, units=units, meaning="above zero")
