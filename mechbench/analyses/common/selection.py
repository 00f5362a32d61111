"""Which heads an analysis looks at when nobody names them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from mechbench.analyses.common.frame import CURRENT_WORD, choose_letters
from mechbench.analyses.common.heads import Head, some_heads
from mechbench.analyses.common.steps import Steps
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
def ranked_heads(
    model,
    task: AcronymTask,
    *,
    seed: int,
    method: str = "resample",
    corruptions: Sequence[str] = (CURRENT_WORD,),
    steps: Steps | None = None,
) -> tuple[Head, ...]:
    """All heads, the most damaging first when their ``z`` is taken from the corrupted run.

    The mean effect is summed over letters and corruptions, letter i under the corruption that
    belongs to it, all positions; heads that help when corrupted come last. Source: our choice, from
    the head sweeps of Garcia-Carrasco et al. 2024.
    """
    n_cells = model.cfg.n_layers * model.cfg.n_heads
    steps = steps or Steps(0, None, None)
    total = torch.zeros(model.cfg.n_layers, model.cfg.n_heads, dtype=torch.float64)
    metric = task.metric()
    for corruption in corruptions:
        for letter in choose_letters(None, task, corruption):
            runs = Runs(model, task.pairs(corruption, letter=letter, method=method, seed=seed))
            call = steps.call(f"rank-{corruption}-{letter}", n_cells)
            swept = sweep(
                model, runs.pairs, metric, site="z", axes=(LAYER, HEAD), runs=runs, **call
            )
            effect = swept.effect.isel({ANSWER: letter - 1}).mean(PROMPT)
            total += torch.from_numpy(effect.transpose(LAYER, HEAD).values)
    order = total.flatten().argsort(stable=True).tolist()
    return tuple(divmod(i, model.cfg.n_heads) for i in order)
