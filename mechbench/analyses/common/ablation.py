"""Keep some heads and mean-ablate the others: the cells of circuit evaluation."""

from collections.abc import Collection, Sequence

from torch import Tensor

from mechbench.analyses.common.heads import Head, all_heads
from mechbench.analyses.common.steps import Steps
from mechbench.interventions.engine import run_patches
from mechbench.interventions.patches import Cell, Patch
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site
from mechbench.interventions.sources import Mean
from mechbench.tasks.metrics import Metric


def ablate(heads: Collection[Head]) -> Cell:
    """Mean-ablate ``z`` of these heads at all positions, with the corrupted run's mean."""
    return tuple(Patch(Site("z", layer, head=head), Mean("corrupt")) for layer, head in heads)


def keep_only(model, heads: Collection[Head]) -> Cell:
    """Mean-ablate every head outside ``heads``; MLPs are left alone."""
    kept = set(heads)
    return ablate([head for head in all_heads(model) if head not in kept])


def ablated_values(
    model, runs: Runs, cells: Sequence[Cell], metric: Metric, steps: Steps, name: str, base: Tensor
) -> Tensor:
    """The metric ``[cell prompt answer]`` of each cell; a cell without patches has ``base``."""
    out = base.expand(len(cells), *base.shape).clone()
    call = steps.call(name, len(cells))
    real = [i for i, cell in enumerate(cells) if cell]
    if real:
        patched = run_patches(
            model, runs.pairs, [cells[i] for i in real], metric, runs=runs, **call
        )
        out[real] = patched.values
    return out
