"""``mechbench bench sweep``: the planner against a plain loop and TransformerLens' patching.

All on one randomly initialised model of GPT-2 small's shape. The planner runs whole sweeps; the
two slow ways are timed on cells drawn at random (and listed), half of them before the
planner and half after it, and scaled to the number of cells.
"""

import platform
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformer_lens import patching
from transformers import GPT2Config as HuggingFaceConfig
from transformers import GPT2LMHeadModel

from mechbench.bench.measure import Measured, alternating, measured, spread
from mechbench.bench.shapes import random_pairs, small_model
from mechbench.interventions.patches import Patch
from mechbench.interventions.reference import reference_values
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site
from mechbench.interventions.sweeps import sweep
from mechbench.tasks.metrics import Metric, logit_difference
from mechbench.tasks.pairs import PromptPairs

TARGETS = {
    "residual by position": 7.0,
    "heads over all positions": 3.0,
    "heads by position": 7.0,
    "forward": 1.05,
    "caching": 1.3,
}


@dataclass(frozen=True)
class Case:
    """One sweep: our site and axes, and TransformerLens' setter for the same patch."""

    name: str
    site: str
    axes: tuple[str, ...]
    setter: Callable


CASES = (
    Case(
        "residual by position", "resid_pre", ("layer", "position"), patching.layer_pos_patch_setter
    ),
    Case(
        "heads over all positions", "z", ("layer", "head"), patching.layer_head_vector_patch_setter
    ),
    Case(
        "heads by position",
        "z",
        ("layer", "head", "position"),
        patching.layer_pos_head_vector_patch_setter,
    ),
)


def run_sweep_bench(
    *,
    lengths: Sequence[int] = (16, 64),
    n_prompts: int = 8,
    n_sampled: int = 12,
    rounds: int = 9,
    cases: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Measure everything and return it as JSON-able numbers; ``say`` gets a line per finding.

    Args:
        lengths: prompt lengths in tokens, BOS included; every other token differs between the
            clean and the corrupted prompts.
        n_sampled: cells timed for each of the two slow ways.
        rounds: repetitions of the forward and caching ratios.
        cases: names of the sweeps to run; None means all.
    """
    model = small_model()
    report: dict = {
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
        "n_prompts": n_prompts,
        "n_sampled_cells": n_sampled,
        "targets": TARGETS,
        "lengths": {},
    }
    with torch.inference_mode():
        hugging_face = _hugging_face()
        for length in lengths:
            pairs = random_pairs(n_prompts, length)
            entry = _forward_ratios(model, hugging_face, pairs, rounds, say)
            for case in CASES:
                if cases is None or case.name in cases:
                    entry[case.name] = _compare(model, pairs, case, n_sampled, say)
            report["lengths"][str(length)] = entry
    return report


def _hugging_face() -> GPT2LMHeadModel:
    config = HuggingFaceConfig(use_cache=False)
    return GPT2LMHeadModel(config).eval()


def _forward_ratios(model, hugging_face, pairs: PromptPairs, rounds: int, say) -> dict:
    tokens = pairs.clean
    forward = alternating(lambda: model(tokens), lambda: hugging_face(tokens).logits, rounds)
    caching = alternating(lambda: model.run_with_cache(tokens), lambda: model(tokens), rounds)
    length = pairs.n_positions
    result = {"forward": spread(forward), "caching": spread(caching)}
    say(
        f"{length} tokens: forward {result['forward']['median']:.2f}x Hugging Face's "
        f"(target {TARGETS['forward']}), caching everything {result['caching']['median']:.2f}x "
        f"the forward (target {TARGETS['caching']})"
    )
    return result


def _compare(model, pairs: PromptPairs, case: Case, n_sampled: int, say) -> dict:
    metric = logit_difference(pairs, torch.full((len(pairs), 1, 1), 2000))
    cells = _all_cells(model, pairs, case)
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(2))
    sample = [cells[i] for i in sorted(order[:n_sampled].tolist())]
    halves = sample[::2], sample[1::2]
    ways = {
        "plain loop": partial(_plain_loop, model, pairs, metric, case),
        "TransformerLens": partial(_transformer_lens, model, pairs, metric, case),
    }
    result: dict = {"n_cells": len(cells), "sampled_cells": [list(cell) for cell in sample]}
    times = {name: [way(halves[0])] for name, way in ways.items()}
    with measured() as planner:
        swept = sweep(model, pairs, metric, site=case.site, axes=case.axes)
    for name, way in ways.items():
        times[name].append(way(halves[1]))
    result["planner"] = {
        "seconds": planner.seconds,
        "cpu_seconds": planner.cpu_seconds,
        "peak_bytes": planner.peak_bytes,
        "n_unchanged": swept.receipt.n_unchanged,
    }
    for name, runs in times.items():
        found = torch.cat([values for values, _ in runs])
        order = (*halves[0], *halves[1])
        at = torch.from_numpy(np.stack([swept.patched.values[cell] for cell in order]))
        difference = float((found - at.mean(1)[:, 0]).abs().max())
        assert difference < 1e-4, f"planner and {name} differ by {difference} on {case.name}"
        per_cell = sum(work.seconds for _, work in runs) / len(sample)
        cpu_per_cell = sum(work.cpu_seconds for _, work in runs) / len(sample)
        result[name] = {
            "seconds": per_cell * len(cells),
            "seconds_per_cell": per_cell,
            "peak_bytes": max(work.peak_bytes for _, work in runs),
            "ratio_to_planner": per_cell * len(cells) / planner.seconds,
            "cpu_ratio_to_planner": cpu_per_cell * len(cells) / planner.cpu_seconds,
            "largest_difference": difference,
        }
    lens, loop = result["TransformerLens"], result["plain loop"]
    say(
        f"{pairs.n_positions} tokens, {case.name} ({len(cells)} cells): planner "
        f"{planner.seconds:.1f} s, {lens['ratio_to_planner']:.1f}x faster than TransformerLens "
        f"(target {TARGETS[case.name]:g}; {lens['cpu_ratio_to_planner']:.1f}x in processor time), "
        f"{loop['ratio_to_planner']:.1f}x than a plain loop; peak "
        f"memory {planner.peak_bytes / 2**20:.0f} MiB against {lens['peak_bytes'] / 2**20:.0f}; "
        f"largest difference {lens['largest_difference']:.1e}"
    )
    return result


def _all_cells(model, pairs: PromptPairs, case: Case) -> list[tuple[int, ...]]:
    extent = {
        "layer": model.cfg.n_layers,
        "head": model.cfg.n_heads,
        "position": pairs.n_positions,
    }
    return [
        tuple(c)
        for c in torch.cartesian_prod(*(torch.arange(extent[a]) for a in case.axes)).tolist()
    ]


def _plain_loop(model, pairs, metric: Metric, case: Case, cells) -> tuple[Tensor, Measured]:
    patches = [
        (Patch(Site(case.site, **dict(zip(case.axes, cell, strict=True)))),) for cell in cells
    ]
    runs = Runs(model, pairs)
    runs.need("corrupt", [patch.site.hook_name for (patch,) in patches])
    with measured() as work:
        values = reference_values(model, runs, patches, metric)
    return values.mean(1)[:, 0], work


def _transformer_lens(model, pairs, metric: Metric, case: Case, cells) -> tuple[Tensor, Measured]:
    _, corrupt = model.run_with_cache(
        pairs.corrupt, names_filter=lambda name: name.endswith(("resid_pre", "hook_z"))
    )
    axes = {"position": "pos"}
    # TransformerLens orders the index of a head at a position as layer, pos, head.
    names = [axes.get(axis, axis) for axis in case.axes]
    order = [name for name in ("layer", "pos", "head") if name in names]
    frame = pd.DataFrame(dict(zip(names, zip(*cells, strict=True), strict=True)), columns=order)

    def read(logits: Tensor) -> Tensor:
        at_answers = torch.take_along_dim(logits, metric.positions[..., None], dim=1)
        return metric(at_answers[..., metric.vocab]).mean()

    with measured() as work, redirect_stderr(StringIO()):  # its progress bar
        values: Any = patching.generic_activation_patch(  # its hints mean bridges alone
            cast(Any, model), pairs.clean, corrupt, read, case.setter, case.site, index_df=frame
        )
    return values, work
