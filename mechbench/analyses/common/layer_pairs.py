"""Every pair of layers of every query, patched and continued.

Axes: state (as in ``mechbench.results.back_patching.STATES``), query, place (t1, t2), source layer,
target layer, new token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mechbench.analyses.common.steps import Steps
from mechbench.interventions.generation_work import NOTHING
from mechbench.interventions.patched_generation import StatePatch, generate_patched
from mechbench.interventions.states import block_outputs
from mechbench.results.back_patching import NOISE, OTHER, OWN, STATES
from mechbench.tasks.two_hop import TwoHopTask

PLACES = ("t1", "t2")
_ROWS_AT_ONCE = 16384


def n_patches(n_queries: int, n_places: int, n_layers: int) -> int:
    """How many patched prompts ``patch_all_pairs`` continues."""
    pairs = n_layers * (n_layers - 1) // 2
    return n_queries * n_places * pairs * (len(STATES) + 1)


def patch_all_pairs(
    model,
    task: TwoHopTask,
    queries: Sequence[int],
    places: Sequence[str],
    *,
    n_new: int,
    seed: int,
    steps: Steps,
) -> Tensor:
    """New tokens ``[state query place source target new]``; ``NOTHING`` where nothing is run.

    The prompt's own states go from every layer to every other one; the controls' from later layers
    to earlier ones.
    """
    n_layers = model.cfg.n_layers
    needed = sorted({*queries, *(int(task.partners[q]) for q in queries)})
    outputs = block_outputs(
        model,
        [task.tokens_of()[q] for q in needed],
        torch.stack([task.spans[place][needed] for place in places], 1),
    )
    row_of = {q: i for i, q in enumerate(needed)}
    tokens = torch.full(
        (len(STATES), len(queries), len(places), n_layers, n_layers, n_new), NOTHING
    )
    for s, state in enumerate(STATES):
        cells = _cells(n_layers, forward=state == OWN)
        size = max(1, _ROWS_AT_ONCE // max(1, len(cells) * len(places)))
        for start in range(0, len(queries), size):
            batch = list(queries[start : start + size])
            vectors, patches = _batch(task, batch, places, cells, state, outputs, row_of, seed)
            if not patches:
                continue
            name = f"pairs-{STATES.index(state)}-{start}"
            found = generate_patched(
                model,
                [task.tokens_of()[q] for q in batch],
                vectors,
                patches,
                max_new_tokens=n_new,
                **steps.call(name, len(patches)),
            )
            shape = (len(batch), len(places), len(cells), n_new)
            sources, targets = torch.tensor(cells).T
            part = tokens[s, start : start + size]
            part[:, :, sources, targets] = found.tokens.view(shape)
    return tokens


def noise_state(
    layers: Tensor, source: int, target: int, *, seed: int, query: int, place: str
) -> Tensor:
    """The noise that ``patch_all_pairs`` writes into a cell, ``[d_model]``.

    A forward cell, where that writes none, has a draw of its own.

    Args:
        layers: the outputs of the query's blocks at the place, ``[layer d_model]``.
    """
    cells = _cells(len(layers), forward=False)
    cells = cells if source > target else [(source, target)]
    noisy = _noisy(layers, cells, (seed, query, PLACES.index(place)))
    return noisy[cells.index((source, target))]


def _cells(n_layers: int, *, forward: bool) -> list[tuple[int, int]]:
    """Pairs (source, target) of different layers."""
    layers = range(n_layers)
    return [(s, t) for s in layers for t in layers if s > t or (forward and s < t)]


def _batch(
    task: TwoHopTask,
    batch: Sequence[int],
    places: Sequence[str],
    cells: Sequence[tuple[int, int]],
    state: str,
    outputs: Tensor,
    row_of: dict[int, int],
    seed: int,
) -> tuple[Tensor, list[StatePatch]]:
    """The vectors to write, and a patch for each query, place and cell, in this order."""
    vectors, patches = [], []
    used = 0
    for i, query in enumerate(batch):
        from_query = int(task.partners[query]) if state == OTHER else query
        for p, place in enumerate(places):
            layers = outputs[row_of[from_query], p]
            if state == NOISE:
                layers = _noisy(layers, cells, (seed, query, PLACES.index(place)))
            index = range(len(cells)) if state == NOISE else [source for source, _ in cells]
            position = int(task.spans[place][query])
            patches += [
                StatePatch(i, target, position, used + k)
                for k, (_, target) in zip(index, cells, strict=True)
            ]
            vectors.append(layers)
            used += len(layers)
    return torch.cat(vectors), patches


def _noisy(layers: Tensor, cells: Sequence[tuple[int, int]], seed: tuple[int, ...]) -> Tensor:
    """What stands in each cell's target plus noise as long as its change, ``[cell d_model]``.

    Source: our choice.
    """
    number = sum(part * 1_000_003**i for i, part in enumerate(seed)) % 2**63
    sources, targets = torch.tensor(cells, device=layers.device).T
    there, change = layers[targets], layers[sources] - layers[targets]
    draw = torch.Generator().manual_seed(number)
    noise = torch.randn(change.shape, generator=draw).to(change)
    return there + noise * (change.norm(dim=1) / noise.norm(dim=1))[:, None]
