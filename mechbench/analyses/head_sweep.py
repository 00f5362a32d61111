"""Head patching: which heads move the information, and where they read or write it."""

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr

from mechbench.analyses.common.controls import RandomDirection
from mechbench.analyses.common.estimates import estimate
from mechbench.analyses.common.frame import (
    CURRENT_WORD,
    check_size,
    choose_letters,
    clean_metric,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.interventions.runs import Runs
from mechbench.interventions.sweeps import sweep
from mechbench.results.head_sweep import ALL_POSITIONS, AT_ANSWER, AT_WORD, WHERE, HeadSweep
from mechbench.shapes import ANSWER, HEAD, LAYER, PROMPT
from mechbench.tasks.acronym_task import AcronymTask

_PLACES = {"all": ALL_POSITIONS, "word": AT_WORD, "answer": AT_ANSWER}


@torch.inference_mode()
def head_sweep(
    model,
    task: AcronymTask,
    *,
    corruption: str = CURRENT_WORD,
    letters: Sequence[int] | None = None,
    where: Sequence[str] = ("all", "word", "answer"),
    method: str = "resample",
    against: str = "max",
    control: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> HeadSweep:
    """The effect on each letter of writing one head's corrupted ``z`` into the clean run.

    Args:
        corruption: "current_word", "previous_words" or "previous_letters".
        letters: counted from 1; by default all that the corruption can reach.
        where: at "all" positions, only at the "word" (C_i), or only at the "answer" position that
            predicts letter i (A_{i-1}; for letter 1 the token before A1).
        method: how corrupted letters are drawn, as ``task.pairs`` takes it.
        against: "max" or "mean" of the wrong letters.
        control: also patch a random direction of the same length.

    Raises:
        TaskError: an unknown corruption or place, a letter that it cannot reach, fewer than two
            prompts.

    Source: Garcia-Carrasco et al. 2024, Figs 2, 5, 6; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    chosen = choose_letters(letters, task, corruption)
    metric = task.metric(against)
    places = {
        i: {_place(w): _at(w, task.frame.capitals[i - 1], task.frame.answers[i - 1]) for w in where}
        for i in chosen
    }
    n_cells = model.cfg.n_layers * model.cfg.n_heads
    steps = Steps(n_cells * len(chosen) * len(where) * (1 + control), progress, checkpoint)
    effects: list[xr.DataArray] = []
    controls: list[xr.DataArray] = []
    for letter in chosen:
        runs = Runs(model, task.pairs(corruption, letter=letter, method=method, seed=seed))
        name = f"heads-{corruption}-{letter}"
        effects.append(_swept(runs, metric, letter, places[letter], None, steps, name, n_cells))
        if control:
            runs.need("clean", [f"blocks.{i}.attn.hook_z" for i in range(model.cfg.n_layers)])
            source = RandomDirection(runs["clean"], seed)
            name += "-control"
            controls.append(
                _swept(runs, metric, letter, places[letter], source, steps, name, n_cells)
            )
    effect = xr.concat(effects, dim=ANSWER)
    return HeadSweep(
        corruption=corruption,
        method=method,
        against=against,
        effect=effect,
        summary=estimate(effect, seed=seed),
        control=estimate(xr.concat(controls, dim=ANSWER), seed=seed) if control else None,
        base=clean_metric(model, task, metric),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _swept(runs, metric, letter, places, source, steps, name, n_cells) -> xr.DataArray:
    parts = [
        sweep(
            runs.model,
            runs.pairs,
            metric,
            site="z",
            axes=(LAYER, HEAD),
            position=at,
            source=source,
            runs=runs,
            **steps.call(f"{name}-{index}", n_cells),
        ).effect.isel({ANSWER: letter - 1})
        for index, at in enumerate(places.values())
    ]
    joined = xr.concat(parts, dim=WHERE).assign_coords({WHERE: list(places)})
    joined = joined.transpose(WHERE, LAYER, HEAD, PROMPT)
    return joined.assign_attrs(units="logits", long_name="LD patched - LD clean")


def _place(where: str) -> str:
    if where not in _PLACES:
        raise TaskError(f"where={where!r} is not known: use some of {', '.join(_PLACES)}.")
    return _PLACES[where]


def _at(where: str, word: int, answer: int) -> int | None:
    return {"all": None, "word": word, "answer": answer}[where]
