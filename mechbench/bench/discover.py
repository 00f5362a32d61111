"""``mechbench bench discover``: edge attribution against the usual matrix form, and edge sets.

On one randomly initialised model of GPT-2 small's shape. Times are taken in turn in one process;
peak memory in processes of their own, because a process keeps what it once had.
"""

import platform
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mechbench.bench.matrix_form import matrix_form_scores
from mechbench.bench.measure import alternating, measured, measured_apart, spread
from mechbench.bench.shapes import random_pairs, small_model
from mechbench.discovery.attribution import attribute_edges
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.graphs.wiring import wire
from mechbench.tasks.metrics import LogitDifference, logit_difference
from mechbench.tasks.pairs import PromptPairs

TARGETS = {
    "largest relative difference": 1e-4,
    "times faster": 1.5,
    "share of the memory": 0.5,
    "forwards for an edge set": 2.2,
}
SHARES = (0.01, 0.1, 0.5, 0.9)
IG_STEPS = 5


def run_discover_bench(
    *,
    n_prompts: int = 20,
    length: int = 32,
    rounds: int = 3,
    say: Callable[[str], None] = print,
) -> dict:
    """Measure everything and return it as JSON-able numbers; ``say`` gets a line per finding."""
    model = small_model()
    pairs, metric = _task(n_prompts, length)
    report: dict = {
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
        "n_prompts": n_prompts,
        "length": length,
        "targets": TARGETS,
    }
    for name, steps in (("EAP", 0), ("EAP-IG inputs", IG_STEPS)):
        report[name] = _attribution(model, pairs, metric, name, steps, rounds, say)
    report["edge set"] = _edge_sets(model, pairs, metric, rounds, say)
    return report


def _task(n_prompts: int, length: int) -> tuple[PromptPairs, LogitDifference]:
    pairs = random_pairs(n_prompts, length)
    return pairs, logit_difference(pairs, torch.full((n_prompts, 1, 1), 2000))


def _attribution(model, pairs, metric, name: str, steps: int, rounds: int, say) -> dict:
    ours = ours_in_one(model, pairs, metric, steps)
    theirs = matrix_form_scores(model, pairs, metric, steps=steps)
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    limit = TARGETS["largest relative difference"]
    assert difference < limit, f"{name}: the two forms differ by {difference:.1e}"
    times = spread(
        alternating(
            partial(matrix_form_scores, model, pairs, metric, steps=steps),
            partial(ours_in_one, model, pairs, metric, steps),
            rounds,
        )
    )
    sizes = (len(pairs), pairs.n_positions, steps)
    peaks = {form: measured_apart(_peak, form, *sizes) for form in ("matrix form", "mechbench")}
    share = peaks["mechbench"] / peaks["matrix form"]
    say(
        f"{name}, {len(pairs)} prompts of {pairs.n_positions} tokens: {times['median']:.2f} times "
        f"faster than the matrix form (target {TARGETS['times faster']}), peak memory "
        f"{peaks['mechbench'] / 2**20:.0f} MiB against {peaks['matrix form'] / 2**20:.0f} "
        f"({share:.2f}, target {TARGETS['share of the memory']}); largest difference "
        f"{difference:.1e} of the largest score"
    )
    return {
        "steps": steps,
        "times_faster": times,
        "peak_bytes": peaks,
        "share_of_the_memory": share,
        "largest_relative_difference": difference,
    }


def ours_in_one(model, pairs: PromptPairs, metric: LogitDifference, steps: int) -> Tensor:
    """Mean edge scores ``[writer reader]``, all prompts as one batch as in the matrix form."""
    method = "eap-ig-inputs" if steps else "eap"
    found = attribute_edges(
        model, pairs, metric, method=method, steps=steps or 1, batch_size=len(pairs)
    )
    return found.scores.mean(0)


def _peak(form: str, n_prompts: int, length: int, steps: int) -> int:
    """Bytes above the loaded model that one call needs at its peak."""
    model = small_model()
    pairs, metric = _task(n_prompts, length)
    with torch.inference_mode():
        model(pairs.clean[:1])  # libraries allocate their own buffers on first use
    call = matrix_form_scores if form == "matrix form" else ours_in_one
    with measured() as work:
        call(model, pairs, metric, steps=steps)
    return work.peak_bytes


def _edge_sets(model, pairs, metric, rounds: int, say) -> dict:
    wiring = wire(model)
    exists = wiring.graph.exists
    drawn = np.random.default_rng(0).random(exists.shape)
    found = {}
    for share in SHARES:

        def evaluate(mask: np.ndarray = exists & (drawn < share)) -> Tensor:
            return CircuitForward(model, wiring, pairs, metric)(mask)

        with torch.inference_mode():
            found[str(share)] = spread(alternating(evaluate, partial(model, pairs.clean), rounds))
    medians = {share: ratio["median"] for share, ratio in found.items()}
    say(
        "An edge set, corrupted run included, in times of a plain forward: "
        + ", ".join(f"{ratio:.2f} with {float(share):.0%}" for share, ratio in medians.items())
        + f" of the edges at random (target {TARGETS['forwards for an edge set']})"
    )
    return {"by_share": found, "median": statistics.median(medians.values())}
