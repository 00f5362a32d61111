"""Where a circuit or its scores came from, and whether these prompts had a part in it."""

from collections.abc import Mapping
from typing import Any

from mechbench.analyses.common.edges import pairs_and_metric
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.errors import TaskError
from mechbench.graphs.circuit import Circuit
from mechbench.graphs.wiring import model_facts
from mechbench.results.edge_scores import EdgeScores
from mechbench.tasks.pairs import PromptPairs


def scores_of(model, task, scores: EdgeScores | None, *, seed: int, **options: Any) -> EdgeScores:
    """The given scores, or those of EAP-IG on this task.

    Raises:
        CircuitError: scores of another model; every difference is named.
    """
    if scores is None:
        scores = edge_attribution(model, task, seed=seed, **options)
    check_model(scores.model_facts, model)
    return scores


def check_model(facts: Mapping[str, Any], model) -> None:
    """Raises CircuitError, naming every difference, where ``facts`` are not those of the model."""
    Circuit(edges=(), model=facts, task={}).check(model_facts(model))


def facts_of_scores(scores: EdgeScores) -> dict[str, Any]:
    """What a circuit says of the prompts that chose it, here those that were scored."""
    return scores.prompts()


def held_out(chosen: Mapping[str, Any], task) -> bool:
    """Whether the prompts of ``task`` had no part in a choice made on ``chosen``.

    Of equal seeds, and where a seed is not known, the answer is no.
    """
    if chosen.get("name") not in (None, task.name):
        return True
    seeds = chosen.get("seed"), _seed(task)
    return None not in seeds and seeds[0] != seeds[1]


def pairs_of(task, corruption: str | None, scored_with: str | None, *, seed: int) -> PromptPairs:
    """The pairs of a corruption: the one given, else the one that was scored with, else the task's.

    Raises:
        TaskError: a corruption that the task does not have.
    """
    if corruption is None and scored_with in task.corruptions:
        corruption = scored_with
    if corruption is not None and corruption not in task.corruptions:
        raise TaskError(
            f"corruption={corruption!r} is not known: use {', '.join(task.corruptions)}."
        )
    return pairs_and_metric(task, corruption, seed=seed)[0]


def _seed(task) -> int | None:
    seed = task.source.get("seed")
    return seed if isinstance(seed, int) else None
