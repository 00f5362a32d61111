"""How much of the task a circuit does alone: cumulative mean ablation of everything else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mechbench.analyses.common.ablation import ablated_values, keep_only
from mechbench.analyses.common.controls import random_head_sets
from mechbench.analyses.common.estimates import estimate, labelled
from mechbench.analyses.common.frame import all_pairs, answer_labels, clean_metric, per_prompt
from mechbench.analyses.common.heads import all_heads, head_labels, some_heads
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.selection import ranked_heads
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.interventions.runs import Runs
from mechbench.results.circuit_evaluation import NOTHING, CircuitEvaluation
from mechbench.shapes import ANSWER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def circuit_evaluation(
    model,
    task: AcronymTask,
    *,
    heads: Sequence[Any] | None = None,
    n_heads: int = 8,
    n_random: int = 20,
    method: str = "resample",
    against: str = "max",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> CircuitEvaluation:
    """LD per letter as heads are added to a model whose other heads are mean-ablated.

    The replacement of ``z`` is the mean over prompts of the corrupted run, position by position;
    since all prompts have one frame it keeps what depends on the position alone.

    Args:
        heads: in the order they are added; by default the first ``n_heads`` of the head sweep,
            most damaging first.
        n_random: how many random orders of heads serve as the control.
        method: how the corrupted prompts are drawn, as ``task.pairs`` takes it.
        against: "max" or "mean" of the wrong letters.

    Raises:
        UnsupportedHookError: a head outside the model.
        TaskError: fewer than two prompts, or no random order.

    Source: Garcia-Carrasco et al. 2024, Fig. 8; the control is our choice.
    """
    clock = Clock()
    if n_random < 1 or n_heads < 1:
        raise TaskError(f"n_random={n_random} and n_heads={n_heads} must be at least 1.")
    given = None if heads is None else some_heads(heads, model)
    pairs, metric = all_pairs(task, method=method, seed=seed), task.metric(against)
    order = given or ranked_heads(model, task, seed=seed, method=method)[:n_heads]
    draws = random_head_sets(all_heads(model), len(order), n_random, seed=seed)
    sizes = range(len(order) + 1)
    cells = [keep_only(model, order[:k]) for k in sizes]
    random_cells = [keep_only(model, draw[:k]) for k in sizes[1:] for draw in draws]
    steps = Steps(len(cells) + len(random_cells), progress, checkpoint)
    runs = Runs(model, pairs)
    full = clean_metric(model, task, metric)
    base = torch.from_numpy(full.values)
    found = ablated_values(model, runs, cells, metric, steps, "circuit", base)
    random = ablated_values(model, runs, random_cells, metric, steps, "random", base)
    added = [NOTHING, *head_labels(order)]
    values = per_prompt(found, task, meaning="LD with the other heads ablated", step=added)
    random = random.mean(1).unflatten(0, (len(order), n_random))
    nothing = found[:1].mean(1)[:, None].expand(1, n_random, -1)
    return CircuitEvaluation(
        order=tuple(head_labels(order)),
        chosen_by="head sweep" if given is None else "given",
        against=against,
        method=method,
        values=values,
        summary=estimate(values, seed=seed),
        spread=values.std(PROMPT, ddof=1, keep_attrs=True),
        full=full,
        full_summary=estimate(full, seed=seed),
        control=labelled(
            torch.cat([nothing, random]),
            {"step": added, "draw": range(n_random), ANSWER: answer_labels(task)},
            units="logits",
            meaning="mean LD with as many random heads",
        ),
        provenance=clock.provenance(model, task, seed=seed),
    )
