"""Which neurons' value vectors write the first label where it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mechbench.analyses.common.choices import answers_of, require_choices, some_items
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.gaps import GapReader, final_stream, last_activations
from mechbench.analyses.common.mlp_values import (
    Neuron,
    neuron_label,
    post_name,
    promoted,
    require_value_vectors,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.interventions.weight_edits import output_bias, output_weight
from mechbench.results.choices import FAILING, MEASURE
from mechbench.results.value_vectors import (
    ABOVE,
    MEAN_DIRECT,
    MEAN_LENS,
    RANDOM,
    RANK,
    TOP,
    WHICH,
    ValueVectors,
)
from mechbench.shapes import LAYER, NEURON, PROMPT
from mechbench.tasks.choice_task import ChoiceTask


@torch.inference_mode()
def value_vectors(
    model,
    task: ChoiceTask,
    *,
    k: int = 10,
    threshold: float = 4.0,
    min_share: float = 0.25,
    items: str = FAILING,
    layers: Sequence[int] | None = None,
    n_shown: int = 12,
    n_tokens: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ValueVectors:
    """The neurons that are large at the last position and read as the first label.

    Args:
        k: neurons of each layer and prompt that are looked at, by |activation| * norm.
        threshold: logits of the lens gap above which one is kept.
        min_share: of the prompts in which a neuron has to be kept to count as found.
        items: which prompts: those that are "failing", or all with "gold later".
        layers: which to look at; all by default.
        n_shown: candidates in the table.
        n_tokens: promoted tokens of each.

    Raises:
        TaskError: another task than multiple choice, fewer than two such prompts, ``k`` larger than
            the MLPs, or an option out of range.
        UnsupportedHookError: a layer out of range, or a model without value vectors.

    Source: Li and Gao 2025 (k = 10, threshold 4); ``min_share``, the direct reading and the control
        are our choice.
    """
    clock = Clock()
    task = require_choices(model, task)
    at_layers = list(range(model.cfg.n_layers)) if layers is None else list(layers)
    _check(model, at_layers, k, min_share, n_shown, n_tokens)
    steps = Steps(1 + len(at_layers), progress, checkpoint)
    chosen = task.select(some_items(task, answers_of(model, task), items))
    steps.advance()
    names = [post_name(layer) for layer in at_layers]
    seen = last_activations(model, chosen, [*names, final_stream(model)])
    reader = GapReader(model, chosen, seen[final_stream(model)])
    found: dict[Neuron, _Candidate] = {}
    by_layer = []
    for layer in at_layers:
        read = _Layer(model, layer, seen[post_name(layer)], reader, k, threshold)
        found |= read.candidates()
        by_layer.append(read.beside_random(seed))
        steps.advance()
    ranked = sorted(found, key=lambda n: (-found[n].share, -found[n].largest_gap, n))
    neurons = [n for n in ranked if found[n].share > 0 and found[n].share >= min_share]
    table = _Table(model, seen, reader, ranked[:n_shown], found)
    return ValueVectors(
        items=items,
        n_items=len(chosen),
        k=k,
        threshold=threshold,
        min_share=min_share,
        neurons=tuple(neuron_label(n) for n in neurons),
        **table.columns(threshold, n_tokens, seed),
        by_layer=_by_layer(by_layer, at_layers, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _check(model, layers: list[int], k: int, min_share: float, n_shown: int, n_tokens: int) -> None:
    if not layers or n_shown < 1 or n_tokens < 1 or not 0 <= min_share <= 1:
        raise TaskError(
            f"layers={layers}, n_shown={n_shown}, n_tokens={n_tokens} and min_share={min_share}: "
            "name a layer, show at least one neuron and token, and give a share of 0 to 1."
        )
    require_value_vectors(model, layers)
    narrowest = min(len(output_weight(model, layer)) for layer in layers)
    if not 1 <= k <= narrowest // 2:
        raise TaskError(
            f"k={k} neurons per layer do not leave as many others for the control: the MLPs of "
            f"{model.cfg.model_name!r} have {narrowest} neurons, so give 1 to {narrowest // 2}."
        )


@dataclass(frozen=True)
class _Candidate:
    """A neuron that some prompt looks at; ``kept`` says of each prompt whether it keeps it."""

    kept: Tensor
    largest_gap: float

    @property
    def share(self) -> float:
        return float(self.kept.double().mean())


class _Layer:
    """The neurons of one layer at the last position of every prompt.

    Suffixes: B prompt, K neurons looked at, M d_mlp.
    """

    def __init__(
        self, model, layer: int, post: Tensor, reader: GapReader, k: int, threshold: float
    ):
        self.model, self.layer, self.post = model, layer, post  # post [B M]
        self.reader, self.k, self.threshold = reader, k, threshold
        self.values = output_weight(model, layer)
        self.size = post.abs() * self.values.norm(dim=-1)  # [B M]
        self.largest = self.size.topk(k, dim=-1).indices  # [B K]

    def candidates(self) -> dict[Neuron, _Candidate]:
        """The neurons that any prompt looks at."""
        lens, _ = self._gaps(self.largest)
        gaps = torch.full_like(self.post, float("-inf")).scatter_(1, self.largest, lens)
        return {
            (self.layer, n): _Candidate(
                (gaps[:, n] > self.threshold).cpu(), float(gaps[:, n].max())
            )
            for n in self.largest.unique().tolist()
        }

    def beside_random(self, seed: int) -> Tensor:
        """``[which measure prompt]``: means over neurons, for the largest and for random ones."""
        generator = torch.Generator().manual_seed(seed * 1000 + self.layer)
        active = self.size >= self.size.median(-1, keepdim=True).values
        active.scatter_(1, self.largest, False)
        draw = torch.rand(self.size.shape, generator=generator).to(self.size) + active
        found = []
        for neurons in (self.largest, draw.topk(self.k, dim=-1).indices):
            lens, direct = self._gaps(neurons)
            above = (lens > self.threshold).to(lens)
            found.append(torch.stack([above.mean(-1), lens.mean(-1), direct.mean(-1)]))
        return torch.stack(found)

    def _gaps(self, neurons: Tensor) -> tuple[Tensor, Tensor]:
        """Lens and direct gaps ``[B K]`` of some neurons of each prompt."""
        written = self.values[neurons] * self.post.gather(1, neurons)[..., None]
        lens = self.reader.lens(written + output_bias(self.model, self.layer))
        return lens, self.reader.direct(written)


class _Table:
    """What the result says of the candidates, one by one."""

    def __init__(
        self,
        model,
        seen: dict[str, Tensor],
        reader: GapReader,
        neurons: list[Neuron],
        found: dict[Neuron, _Candidate],
    ):
        self.model, self.reader, self.neurons = model, reader, neurons
        self.post = torch.stack([seen[post_name(layer)][:, n] for layer, n in neurons], 1)
        self.kept = torch.stack([found[n].kept for n in neurons], 1).double()
        self.values = torch.stack([output_weight(model, layer)[n] for layer, n in neurons])

    def columns(self, threshold: float, n_tokens: int, seed: int) -> dict[str, xr.DataArray]:
        """The arrays of the result that have the axis ``neuron``."""
        labels = [neuron_label(n) for n in self.neurons]
        biases = torch.stack([output_bias(self.model, layer) for layer, _ in self.neurons])
        written = self.post[..., None] * self.values
        tokens = [
            promoted(self.model, layer, self.values[i, None], n_tokens)[0]
            for i, (layer, _) in enumerate(self.neurons)
        ]

        def over_prompts(values: Tensor, units: str, meaning: str) -> xr.DataArray:
            axes = {PROMPT: range(len(values)), NEURON: labels}
            return estimate(labelled(values, axes, units=units, meaning=meaning), seed=seed)

        return {
            "kept": over_prompts(self.kept, "share", f"lens gap above {threshold:g}, and large"),
            "lens": over_prompts(self.reader.lens(written + biases), "logits", "lens gap"),
            "direct": over_prompts(self.reader.direct(written), "logits", "direct gap"),
            "activation": over_prompts(self.post, "1", "activation at the last position"),
            "norm": labelled(
                self.values.norm(dim=-1), {NEURON: labels}, units="1", meaning="of value vectors"
            ),
            "promoted": labelled(
                np.array(tokens, dtype=str),
                {NEURON: labels, RANK: range(1, len(tokens[0]) + 1)},
                units="token",
                meaning="raised most by the value vector",
            ),
        }


def _by_layer(parts: list[Tensor], layers: list[int], seed: int) -> xr.DataArray:
    stacked = torch.stack(parts, 2)  # [which measure layer prompt]
    axes = {
        WHICH: [TOP, RANDOM],
        MEASURE: [ABOVE, MEAN_LENS, MEAN_DIRECT],
        LAYER: layers,
        PROMPT: range(stacked.shape[-1]),
    }
    values = labelled(stacked, axes, units="share or logits", meaning="means over neurons")
    return estimate(values, seed=seed).transpose("estimate", MEASURE, WHICH, LAYER)
