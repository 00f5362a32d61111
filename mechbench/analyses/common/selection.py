"""Which heads an analysis looks at when nobody names them."""

from collections.abc import Iterable
from typing import Any

import torch

from mechbench.analyses.common.frame import CURRENT_WORD, n_letters
from mechbench.analyses.common.heads import Head, some_heads
from mechbench.interventions.runs import Runs
from mechbench.interventions.sweeps import sweep
from mechbench.shapes import ANSWER, HEAD, LAYER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask

N_STRONGEST = 4


def given_or_strongest(
    heads: Iterable[Any] | None, model, task: AcronymTask, *, seed: int
) -> tuple[Head, ...]:
    """The heads that were given, or the ``N_STRONGEST`` of ``ranked_heads``."""
    if heads is not None:
        return some_heads(heads, model)
    return ranked_heads(model, task, seed=seed)[:N_STRONGEST]


@torch.inference_mode()
def ranked_heads(model, task: AcronymTask, *, seed: int, **engine: Any) -> tuple[Head, ...]:
    """All heads, the most damaging first when their ``z`` is taken from the corrupted run.

    The effect is summed over letters, letter i under corruption of word i, all positions; heads
    that help when corrupted come last. Source: our choice, from the sweep of card A3.1.
    """
    total = torch.zeros(model.cfg.n_layers, model.cfg.n_heads, dtype=torch.float64)
    metric = task.metric()
    for letter in range(1, n_letters(task) + 1):
        runs = Runs(model, task.pairs(CURRENT_WORD, letter=letter, seed=seed))
        swept = sweep(model, runs.pairs, metric, site="z", axes=(LAYER, HEAD), runs=runs, **engine)
        effect = swept.effect.isel({ANSWER: letter - 1}).mean(PROMPT)
        total += torch.from_numpy(effect.transpose(LAYER, HEAD).values)
    order = total.flatten().argsort(stable=True).tolist()
    return tuple(divmod(i, model.cfg.n_heads) for i in order)
