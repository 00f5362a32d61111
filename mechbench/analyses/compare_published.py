"""Found against published, side by side, where the published numbers are about this model."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.stats import hypergeom

from mechbench.analyses.circuit_evaluation import circuit_evaluation
from mechbench.analyses.circuit_search import circuit_search
from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.frame import answer_labels, n_letters
from mechbench.analyses.common.heads import parse_heads
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.published import PublishedCircuit, read_published, same_model
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.analyses.head_sweep import head_sweep
from mechbench.errors import TaskError
from mechbench.results.circuit_search import CircuitSearch
from mechbench.results.compare_published import ComparePublished
from mechbench.results.head_sweep import ALL_POSITIONS, AT_ANSWER, AT_WORD, WHERE, HeadSweep
from mechbench.shapes import ANSWER, HEAD, LAYER
from mechbench.tasks.acronym_task import AcronymTask

_PLACES = {"all": ALL_POSITIONS, "word": AT_WORD, "answer": AT_ANSWER}


@torch.inference_mode()
def compare_published(
    model,
    task: AcronymTask,
    *,
    published: Path | None = None,
    search: CircuitSearch | None = None,
    method: str = "permute",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ComparePublished:
    """The circuit found in ``model`` and the published one, with numbers where these compare.

    Args:
        published: a folder with circuit.json and published.json; by default the acronym circuit of
            GPT-2 small.
        search: the result of ``circuit_search`` on this model, where there is one already.
        method: how corrupted prompts are drawn; the paper permutes the batch.

    Raises:
        SpecError: the published circuit cannot be read.
        TaskError: the acronyms have another number of letters, or too few prompts.

    Source: the README of ``circuits/acronyms_gpt2``.
    """
    clock = Clock()
    given = read_published(published)
    if n_letters(task) != len(given.numbers["cumulative"]["full"]):
        raise TaskError(
            f"The published numbers are for acronyms of {len(given.numbers['cumulative']['full'])} "
            f"letters, and the task has {n_letters(task)}."
        )
    comparable, statement = same_model(model, given)
    steps = Steps(4, progress, None)
    folder = None if checkpoint is None else Path(checkpoint)

    def part(name: str) -> dict[str, Any]:
        return {"seed": seed, "checkpoint": folder and folder / name, "method": method}

    found = search or circuit_search(model, task, **part("search"))
    steps.advance()
    here: dict[str, Any] = dict.fromkeys(
        ("overlap", "overlap_p_value", "cumulative_here", "full_here", "effects_here")
    )
    if comparable:
        parse_heads(given.heads, model)
        evaluation = circuit_evaluation(model, task, heads=given.heads, **part("evaluation"))
        steps.advance()
        overlap, p_value = _overlap(model, given, found)
        here = {
            "overlap": overlap,
            "overlap_p_value": p_value,
            "cumulative_here": evaluation.summary,
            "full_here": evaluation.full_summary,
            "effects_here": _effects(model, task, given, part),
        }
    steps.finish()
    return ComparePublished(
        comparable=comparable,
        statement=statement,
        source=given.source,
        tags=given.numbers["tags"],
        published_model=given.model,
        published_heads=given.heads,
        published_roles=given.roles,
        found_heads=found.heads,
        found_roles=found.roles,
        **_published_numbers(given, task),
        **here,
        provenance=clock.provenance(model, task, seed=seed, notes=(statement,)),
    )


def _published_numbers(given: PublishedCircuit, task: AcronymTask) -> dict[str, Any]:
    letters = {ANSWER: answer_labels(task)}
    cumulative, rows = given.numbers["cumulative"], given.numbers["head_effects"]["rows"]
    published = {"units": "logits", "meaning": f"published for {given.model}"}
    return {
        "cumulative_published": labelled(
            np.array(cumulative["logit_diff"]),
            {"step": cumulative["steps"], **letters},
            **published,
        ),
        "full_published": labelled(np.array(cumulative["full"]), letters, **published),
        "effects_published": labelled(
            np.array([row["value"] for row in rows]), {"effect": _names(given)}, **published
        ),
        "effect_tags": tuple(row["tag"] for row in rows),
    }


def _names(given: PublishedCircuit) -> list[str]:
    return [
        f"{row['corruption'].replace('_', ' ')}, letter {row['letter']}, {row['where']}: "
        f"{row['head']}"
        for row in given.numbers["head_effects"]["rows"]
    ]


def _effects(model, task: AcronymTask, given: PublishedCircuit, part) -> xr.DataArray:
    """The published head effects, measured here; axes (estimate effect)."""
    rows = given.numbers["head_effects"]["rows"]
    sweeps: dict[str, HeadSweep] = {}
    for corruption in dict.fromkeys(row["corruption"] for row in rows):
        wanted = {row["where"] for row in rows if row["corruption"] == corruption}
        where = [name for name, label in _PLACES.items() if label in wanted]
        sweeps[corruption] = head_sweep(
            model, task, corruption=corruption, where=where, control=False, **part(corruption)
        )
    values = []
    for row in rows:
        ((layer, head),) = parse_heads([row["head"]], model)
        summary = sweeps[row["corruption"]].summary
        at = {ANSWER: f"letter {row['letter']}", WHERE: row["where"], LAYER: layer, HEAD: head}
        values.append(summary.sel(at).drop_vars([ANSWER, WHERE, LAYER, HEAD]))
    joined = xr.concat(values, dim="effect").assign_coords(effect=_names(given))
    return joined.transpose("estimate", "effect")


def _overlap(model, given: PublishedCircuit, found: CircuitSearch) -> tuple[dict[str, int], float]:
    theirs, ours = set(given.heads), set(found.heads)
    both = len(theirs & ours)
    n_heads = model.cfg.n_layers * model.cfg.n_heads
    chance = float(hypergeom.sf(both - 1, n_heads, len(theirs), len(ours)))
    counts = {"both": both, "published only": len(theirs - ours), "found only": len(ours - theirs)}
    return counts, chance
