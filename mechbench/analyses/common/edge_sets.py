"""The metric with only some edges intact, for many sets of edges, resumable."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mechbench.analyses.common.steps import Steps
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.discovery.kept_prompts import work_key
from mechbench.errors import TaskError, did_you_mean
from mechbench.graphs.topology import Graph
from mechbench.graphs.wiring import wire
from mechbench.interventions.kept_file import KeptFile
from mechbench.interventions.sources import FromRun, Mean, Resample, Source, Zero
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

Ablation = Literal["patching", "zero", "mean", "resample"]
ABLATIONS = ("patching", "zero", "mean", "resample")
_NO_SCALE = 1e-6  # a gap below this share of the metric is rounding


def ablation_source(ablation: str, *, seed: int) -> Source:
    """What edges outside the circuit carry: the own corrupted prompt's activation, zeros, the mean
    over the task's corrupted prompts at each position, or another corrupted prompt's activation.

    Raises:
        TaskError: an unknown ablation.
    """
    sources: dict[str, Source] = {
        "patching": FromRun("corrupt"),
        "zero": Zero(),
        "mean": Mean("corrupt"),
        "resample": Resample("corrupt", seed),
    }
    if ablation not in sources:
        raise TaskError(f"ablation={ablation!r} is not known. {did_you_mean(ablation, sources)}")
    return sources[ablation]


class EdgeSets:
    """Evaluates sets of edges of one model on one task; equal sets are evaluated once.

    Attributes:
        graph: of the model.
        full, nothing: the metric of the whole model, and with no edge intact, ``[prompt answer]``.

    Raises:
        TaskError: fewer than two prompts, a metric that the ablation does not change (so that
            faithfulness has no scale), or an unknown ablation.
        StoreError: the checkpoint belongs to other work.
    """

    def __init__(
        self,
        model,
        pairs: PromptPairs,
        metric: Metric,
        *,
        ablation: str,
        seed: int,
        steps: Steps,
        folder: Path | None,
        n_positions: int | None = None,
    ):
        source = ablation_source(ablation, seed=seed)
        check_pairs(pairs, n_positions)
        wiring = wire(model, n_positions=n_positions)
        self.graph: Graph = wiring.graph
        self._steps = steps
        self._forward = CircuitForward(model, wiring, pairs, metric, source=source)
        self.full, self.nothing = self._forward.clean, self._forward.ablated
        self._check_scale(metric, ablation)
        key = work_key(model, pairs, metric, source)
        self._kept = _Kept(
            None
            if folder is None
            else KeptFile(folder / f"edges-{ablation}.npz", key, "metric or ablation")
        )

    def values(self, masks: Sequence[np.ndarray]) -> Tensor:
        """The metric with only the edges of each mask intact, ``[set prompt answer]``."""
        found = [self._value(mask & self.graph.exists) for mask in masks]
        self._kept.save()
        return torch.stack(found)

    def _value(self, mask: np.ndarray) -> Tensor:
        name = hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
        value = self._kept.values.get(name)
        if value is None:
            value = self._forward(mask)
            self._kept.add(name, value)
        self._steps.advance()
        return value

    def _check_scale(self, metric: Metric, ablation: str) -> None:
        gap = float((self.full.double().mean() - self.nothing.double().mean()).abs())
        size = max(float(self.full.abs().max()), float(self.nothing.abs().max()))
        if gap <= _NO_SCALE * size:
            raise TaskError(
                f"Faithfulness has no scale: the mean {metric.name} is "
                f"{float(self.full.mean()):.4g} {metric.units} for the whole model and the same "
                f"with every edge ablated ({ablation}). Use a corruption or an ablation that "
                "changes the metric."
            )


def check_pairs(pairs: PromptPairs, n_positions: int | None) -> None:
    """Raises TaskError for fewer than two prompts, or another length than the graph's."""
    if len(pairs) < 2:
        raise TaskError(
            f"The task {pairs.name!r} has {len(pairs)} prompts, and intervals over prompts need at "
            "least 2. Generate more with n=..., or add rows to the file."
        )
    if n_positions not in (None, pairs.n_positions):
        raise TaskError(
            f"The circuit has edges for {n_positions} positions, and the task's prompts have "
            f"{pairs.n_positions}."
        )


class _Kept:
    """Values by set of edges, in one file."""

    def __init__(self, file: KeptFile | None):
        self._file = file
        self._unsaved = False
        found = None if file is None else file.read("names", "values")
        names, values = (
            ([], []) if found is None else (found[0].tolist(), torch.from_numpy(found[1]))
        )
        self.values: dict[str, Tensor] = dict(zip(names, values, strict=True))

    def add(self, name: str, value: Tensor) -> None:
        self.values[name] = value
        self._unsaved = True
        if self._file is not None and self._file.due:
            self.save()

    def save(self) -> None:
        """Raises StoreError where the file cannot be written."""
        if self._file is None or not self._unsaved:
            return
        values = torch.stack(list(self.values.values())).numpy()
        self._file.write(names=np.array(list(self.values)), values=values)
        self._unsaved = False
