"""Attribution patching of nodes and edges: first-order estimates from one or a few gradients.

The score of an edge is the sum, over positions and d_model, of what the writer adds in the clean
minus the corrupted run, times the gradient of the metric with respect to the reader's own input.
It estimates how much the metric falls when the edge carries the corrupted activation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from mechbench.discovery.batches import Batch, batches, choose_batch_size
from mechbench.discovery.contraction import Contraction
from mechbench.discovery.kept_prompts import KeptPrompts, work_key
from mechbench.discovery.reader_gradients import (
    Backward,
    Entry,
    activation_gradients,
    run_backward,
)
from mechbench.discovery.writer_differences import (
    differences,
    plain_run,
    require_additive,
    writer_names,
)
from mechbench.errors import TaskError, did_you_mean
from mechbench.graphs.topology import Graph
from mechbench.graphs.wiring import Wiring, wire
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

EdgeMethod = Literal["eap", "eap-ig-inputs", "eap-ig-activations", "clean-corrupted"]
NodeMethod = Literal["nap", "nap-ig"]
EDGE_METHODS: tuple[str, ...] = get_args(EdgeMethod)
NODE_METHODS: tuple[str, ...] = get_args(NodeMethod)
Progress = Callable[[int, int], None]

_EMBEDDING = "blocks.0.hook_resid_pre"


@dataclass(frozen=True, eq=False)
class Attribution:
    """Scores per prompt, and the metric of both runs; on the processor, in units of the metric.

    Attributes:
        scores: of edges ``[prompt writer reader]``, 0 where there is no edge, or of nodes
            ``[prompt writer]``; with positions, that axis comes after the prompt.
        clean, corrupt: ``[prompt]``, the mean over answers.
    """

    graph: Graph
    scores: Tensor
    clean: Tensor
    corrupt: Tensor


def attribute_edges(
    model,
    pairs: PromptPairs,
    metric: Metric,
    *,
    method: EdgeMethod = "eap-ig-inputs",
    steps: int = 5,
    positions: bool = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Attribution:
    """An estimate for every edge and prompt of what corrupting the edge costs; positive helps.

    Args:
        method: where gradients are taken, on the clean tokens: ``"eap"``, in the clean run;
            ``"clean-corrupted"``, the mean of the clean and the corrupted run;
            ``"eap-ig-inputs"``, the mean over embeddings corrupt + k/steps (clean - corrupt),
            k = 1..steps; ``"eap-ig-activations"``, likewise along the outputs of the edge's own
            writer, together with the other heads of its layer, while all else is clean.
        steps: of the two integrated methods.
        positions: score every edge at every position; else their sum.
        batch_size: prompts at a time; None chooses by the free memory.
        progress: called with the number of finished prompts and of all.
        checkpoint: a folder that keeps finished prompts, from which an equal call goes on.

    Raises:
        UnsupportedHookError: quantised weights, a metric without gradient, or heads that do not
            add up.
        TaskError: an unknown method, ``steps`` below 1, or a metric that is the same in both runs
            of every prompt.

    Source: Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG, equation 3: k = 1..m); Mueller et al.
    2025 (activations). Head by head, from ``z`` and q, k, v: our choice, equal in exact arithmetic.
    """
    _check(method, EDGE_METHODS, steps)
    wiring = wire(model, n_positions=pairs.n_positions if positions else None)

    def scorer() -> "_Scorer":
        if method == "eap-ig-activations":
            return _AlongActivations(model, wiring, steps)
        return _EdgesAlongInputs(model, wiring, path_points(method, steps))

    n_points = steps if method == "eap-ig-activations" else len(path_points(method, steps))
    work = _Work(model, pairs, metric, wiring, batch_size, n_points, progress)
    shape = (len(wiring.graph.writers), len(wiring.graph.readers))
    return work.run(scorer, shape, ("edges", method, n_points, positions), checkpoint)


def attribute_nodes(
    model,
    pairs: PromptPairs,
    metric: Metric,
    *,
    method: NodeMethod = "nap-ig",
    steps: int = 5,
    positions: bool = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Attribution:
    """An estimate for every writer and prompt of what corrupting its output costs.

    Arguments as ``attribute_edges``; ``"nap"`` takes gradients as ``"eap"``, and ``"nap-ig"`` as
    ``"eap-ig-inputs"``. The score of a node equals the sum of its edges' scores.

    Raises:
        UnsupportedHookError, TaskError: as ``attribute_edges``.

    Source: Nanda 2023 (attribution patching); Mueller et al. 2025 (NAP-IG).
    """
    _check(method, NODE_METHODS, steps)
    wiring = wire(model, n_positions=pairs.n_positions if positions else None)
    points = path_points("eap" if method == "nap" else "eap-ig-inputs", steps)
    work = _Work(model, pairs, metric, wiring, batch_size, len(points), progress)
    return work.run(
        lambda: _NodesAlongInputs(model, wiring, points),
        (len(wiring.graph.writers),),
        ("nodes", method, len(points), positions),
        checkpoint,
    )


def path_points(method: str, steps: int) -> tuple[float, ...]:
    """Where gradients are taken between the corrupted (0) and the clean embedding (1).

    The clean run comes first, because its activations are read as well.
    """
    if method == "eap":
        return (1.0,)
    if method == "clean-corrupted":
        return (1.0, 0.0)
    return tuple(k / steps for k in range(steps, 0, -1))


def _check(method: str, known: Sequence[str], steps: int) -> None:
    if method not in known:
        raise TaskError(f"method={method!r} is not known. {did_you_mean(method, known)}")
    if steps < 1:
        raise TaskError(f"steps={steps} must be at least 1.")


# --- ways to score a batch ------------------------------------------------------------------------


class _Scorer:
    """Scores of one batch of prompts, with the metric of its clean and corrupted run."""

    def score(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError


class _AlongInputs(_Scorer):
    """Gradients at embeddings between the corrupted and the clean ones."""

    def __init__(self, model, wiring: Wiring, points: tuple[float, ...]):
        self.model, self.wiring = model, wiring
        self.points = points

    def backward(
        self, batch: Batch, gradients: Sequence[str], values: Sequence[str]
    ) -> tuple[Backward, dict[str, Tensor], Tensor]:
        """The run with gradients, the writers' differences, and the corrupted run's metric."""
        written = writer_names(self.wiring)
        corrupt, corrupt_metric = plain_run(self.model, batch, "corrupt", written)
        with torch.no_grad():
            clean = self.model.embed_tokens(batch.pairs.clean)
            path = _between(corrupt[_EMBEDDING], clean, self.points)
        resid = clean if self.model.capabilities.restart_at_layer else None
        entry = Entry(_EMBEDDING, path, resid)
        run = run_backward(
            self.model, batch, entry, gradients=gradients, values=[*values, *written]
        )
        differences_ = differences({n: run.values[n][0] for n in written}, corrupt, self.wiring)
        return run, differences_, corrupt_metric


class _EdgesAlongInputs(_AlongInputs):
    def __init__(self, model, wiring: Wiring, points: tuple[float, ...]):
        super().__init__(model, wiring, points)
        self.contraction = Contraction(wiring)

    def score(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        run, written, corrupt = self.backward(batch, *self.contraction.names())
        scores = self.contraction(written, run.gradients, run.values)
        return scores, run.metric[0], corrupt


class _NodesAlongInputs(_AlongInputs):
    def score(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        run, written, corrupt = self.backward(batch, writer_names(self.wiring), ())
        scores = []
        for bank in self.wiring.writers:
            products = run.gradients[bank.hook_name].mean(0) * written[bank.hook_name]
            at = products.sum(-1)  # [prompt pos] or [prompt pos head]
            scores.append(at if bank.weight is not None else at[..., None])
        joined = torch.cat(scores, dim=-1)
        if self.wiring.graph.n_positions is None:
            joined = joined.sum(1)
        return joined, run.metric[0], corrupt


class _AlongActivations(_Scorer):
    """Gradients along the outputs of one bank of writers at a time; its own edges are scored."""

    def __init__(self, model, wiring: Wiring, steps: int):
        self.model, self.wiring = model, wiring
        self.points = path_points("eap-ig-activations", steps)
        self.contraction = Contraction(wiring)

    def score(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        names = writer_names(self.wiring)
        restart = self.model.capabilities.restart_at_layer
        streams = {f"blocks.{layer}.hook_resid_pre" for layer in range(self.model.cfg.n_layers)}
        clean, clean_metric = plain_run(
            self.model, batch, "clean", [*names, *(streams if restart else ())]
        )
        corrupt, corrupt_metric = plain_run(self.model, batch, "corrupt", names)
        written = differences(clean, corrupt, self.wiring)
        total: Tensor | None = None
        for bank in self.wiring.writers:
            name = bank.hook_name
            path = _between(corrupt[name], clean[name], self.points)
            resid = clean[f"blocks.{name.split('.')[1]}.hook_resid_pre"] if restart else None
            gradients, values = self.contraction.names(after=bank.writers.start)
            run = run_backward(
                self.model, batch, Entry(name, path, resid), gradients=gradients, values=values
            )
            scores = self.contraction(written, run.gradients, run.values, [bank])
            total = scores if total is None else total.add_(scores)
        assert total is not None
        return total, clean_metric, corrupt_metric


def _between(corrupt: Tensor, clean: Tensor, points: Sequence[float]) -> Tensor:
    """``corrupt + point (clean - corrupt)``, ``[point *axes]``; exact at both ends."""
    weights = clean.new_tensor(points).view(-1, *([1] * clean.dim()))
    return torch.lerp(corrupt[None], clean[None], weights)


# --- all prompts ----------------------------------------------------------------------------------


class _Work:
    """The batches of one call, what is kept of them, and the checks that go before and after."""

    def __init__(self, model, pairs, metric, wiring, batch_size, n_points, progress):
        model.check_length(pairs.n_positions)
        self.model, self.wiring, self.progress = model, wiring, progress
        self.pairs, self.metric = pairs.to(model.cfg.device), metric.to(model.cfg.device)
        self.batch_size = choose_batch_size(model, pairs.n_positions, n_points, batch_size)

    def run(
        self,
        scorer: Callable[[], _Scorer],
        shape: tuple[int, ...],
        told: tuple[object, ...],
        checkpoint: Path | None,
    ) -> Attribution:
        graph, n = self.wiring.graph, len(self.pairs)
        places = () if graph.n_positions is None else (graph.n_positions,)
        dtype = torch.promote_types(self.model.cfg.dtype, torch.float32)
        scores = torch.zeros(n, *places, *shape, dtype=dtype)
        clean, corrupt = torch.zeros(n, dtype=dtype), torch.zeros(n, dtype=dtype)
        kept: KeptPrompts | None = None
        done: set[int] = set()
        if checkpoint is not None:
            key = work_key(self.model, self.pairs, self.metric, *told)
            kept = KeptPrompts(checkpoint, key)
            done = kept.restore(scores, clean, corrupt)
        self._report(len(done))
        waiting = [prompt for prompt in range(n) if prompt not in done]
        with activation_gradients(self.model, mlps=graph.shape.mlps):
            if waiting:
                first = next(batches(self.pairs, self.metric, waiting[:2], 2))
                require_additive(self.model, self.wiring, first)
                score = scorer().score
            for batch in batches(self.pairs, self.metric, waiting, self.batch_size):
                found = score(batch)
                at = batch.prompts.cpu()
                for tensor, values in zip((scores, clean, corrupt), found, strict=True):
                    tensor[at] = values.to(tensor)
                if kept is not None:
                    kept.save(at.tolist(), scores, clean, corrupt)
                done.update(at.tolist())
                self._report(len(done))
        _require_an_effect(self.metric, clean, corrupt, scores)
        return Attribution(graph, scores, clean, corrupt)

    def _report(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, len(self.pairs))


def _require_an_effect(metric: Metric, clean: Tensor, corrupt: Tensor, scores: Tensor) -> None:
    if bool((clean == corrupt).all()) or not bool(scores.any()):
        raise TaskError(
            f"The metric {metric.name!r} is the same in the clean and the corrupted run of all "
            f"{len(clean)} prompts, so no edge has an effect. Use a corruption that changes the "
            "answer, or another metric."
        )
