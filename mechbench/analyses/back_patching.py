"""Back-patching: does an answer come out when late states are written back into early layers?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.estimates import labelled
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.hops import (
    MAX_NEW_TOKENS,
    ask_all,
    bridge_kinds,
    check_method,
    n_new_tokens,
    set_names,
    within_cap,
)
from mechbench.analyses.common.layer_pairs import PLACES, n_patches, patch_all_pairs
from mechbench.analyses.common.pair_answers import PairAnswers, read_pairs
from mechbench.analyses.common.pair_rates import (
    SETS,
    by_measure,
    fixed_cells,
    grid,
    rates,
    split_incorrect,
)
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.errors import TaskError
from mechbench.results.back_patching import (
    FIRST_TOKEN,
    INCORRECT,
    RULE,
    SOURCE,
    STATE,
    STATES,
    TARGET,
    TEXT,
    BackPatching,
)
from mechbench.results.hop_labels import NEITHER
from mechbench.shapes import POSITION, PROMPT
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import COMPOSITION, LABELS


@torch.inference_mode()
def back_patching(
    model,
    task: TwoHopTask,
    *,
    positions: Sequence[str] = PLACES,
    method: str = "generate",
    max_new_tokens: int = MAX_NEW_TOKENS,
    most: int | None = None,
    cap: int | None = None,
    cap_by: str = "e2_type",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> BackPatching:
    """The share of wrong answers that turn right, and of right ones that stay, by pair of layers.

    Args:
        positions: where states are overwritten, of "t1" and "t2".
        method: "generate" scores the first token and greedy text, "argmax" the first token alone.
            The sets of queries are made by the text, or by the first token.
        max_new_tokens: of "generate".
        most: queries of each set that are run at most, drawn by the seed; None for all.
        cap, cap_by: keep at most so many queries of each bridge in each set before that, as
            ``hop_labels`` does.
        seed: of the noise, of that draw, of the split that chooses a fixed cell, and of intervals.

    Raises:
        TaskError: an unknown position, method or ``cap_by``, ``most`` below 2, fewer than two
            queries in the incorrect set, a prompt that does not fit the context.
        TokenizerError: "generate" without a tokenizer.

    Source: Biran et al. 2024, section 5; the controls are our choice.
    """
    clock = Clock()
    check_size(task, 2)
    check_method(model, method)
    _check(positions, most)
    bridges = bridge_kinds(task, cap, cap_by)
    n_new = n_new_tokens(method, max_new_tokens)
    n_layers = model.cfg.n_layers
    n_rows = n_patches(len(task), len(positions), n_layers)
    steps = Steps(len(LABELS) * len(task) + n_rows, progress, checkpoint)
    asked = ask_all(model, task, method=method, max_new_tokens=max_new_tokens, steps=steps)
    names = set_names({label: asked[label].right for label in LABELS})
    kept = np.where(within_cap(names, bridges, cap, seed), names, NEITHER)
    queries = _chosen(kept, most, seed)
    tokens = patch_all_pairs(model, task, queries, positions, n_new=n_new, seed=seed, steps=steps)
    same = torch.arange(n_layers)
    unpatched = asked[COMPOSITION].tokens[queries]
    tokens[0, :, :, same, same] = unpatched[:, None, None].expand_as(tokens[0, :, :, same, same])
    answers = read_pairs(model, task, queries, tokens, method)
    steps.finish()
    return BackPatching(
        method=method,
        n_new=n_new,
        counts={name: int((names == name).sum()) for name in (*SETS, NEITHER)},
        questions=tuple(task.texts(COMPOSITION)[q] for q in queries),
        answers=tuple(task.queries[q].e3.name for q in queries),
        unpatched=tuple(asked[COMPOSITION].texts[q] for q in queries),
        **_fields(answers, names, queries, positions, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _check(positions: Sequence[str], most: int | None) -> None:
    if not positions or len(set(positions)) < len(positions) or set(positions) - set(PLACES):
        raise TaskError(f"positions={list(positions)} must name some of {', '.join(PLACES)}.")
    if most is not None and most < 2:
        raise TaskError(f"most={most} queries of each set are too few for intervals: give 2 up.")


def _chosen(names: np.ndarray, most: int | None, seed: int) -> list[int]:
    """The queries that are run, in order.

    Raises:
        TaskError: fewer than two incorrect ones.
    """
    members = {name: np.flatnonzero(names == name) for name in SETS}
    if len(members[INCORRECT]) < 2:
        counts = ", ".join(f"{len(found)} {name}" for name, found in members.items())
        raise TaskError(
            f"Of {len(names)} queries {counts}: back-patching needs at least 2 of which the model "
            "answers both hops but neither the composition nor a shortcut. Use more queries, other "
            "kinds of chains, or a model that knows the facts (see hop_labels)."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    kept = [[q for q in order if names[q] == name][:most] for name in SETS]
    return sorted(int(q) for part in kept for q in part)


def _fields(
    answers: PairAnswers,
    names: np.ndarray,
    queries: Sequence[int],
    positions: Sequence[str],
    seed: int,
) -> dict:
    """The arrays of the result, and the texts that they point into."""
    n_layers = answers.first.shape[-1]
    rules = (FIRST_TOKEN, TEXT)[: len(answers.success)]
    cells = {PROMPT: queries, POSITION: positions, SOURCE: range(n_layers), TARGET: range(n_layers)}
    share = {"units": "share", "meaning": "right answer"}
    success = labelled(answers.success, {RULE: rules, STATE: STATES, **cells}, **share)
    other = labelled(answers.other, {RULE: rules, **cells}, **share)
    sets = xr.DataArray(names[queries].astype(str), dims=(PROMPT,), coords={PROMPT: list(queries)})
    split = split_incorrect([q for q in queries if names[q] == INCORRECT], seed)
    values = by_measure(success, other)
    best = fixed_cells(values, split, n_layers)
    index = {STATE: STATES, **cells}
    return {
        "n_chosen": len(split.chosen_on),
        "n_scored": len(split.scored_on),
        "chosen_on": split.chosen_on,
        "texts": answers.texts,
        "tokens": answers.tokens,
        "sets": sets,
        "success": success,
        "other_answer": other,
        "said": labelled(answers.said, index, units="index", meaning="of the text"),
        "first": labelled(answers.first, index, units="index", meaning="of the first token"),
        "grid": grid(success, sets, seed),
        "other_grid": grid(other, sets, seed),
        "rates": rates(values, best, sets, split, seed),
        "fixed_cells": best,
    }
