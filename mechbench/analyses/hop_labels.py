"""Which hops, compositions and shortcuts a model answers, and the two sets that follow."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from mechbench.analyses.common.estimates import estimate, labelled
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
from mechbench.analyses.common.provenance import Clock
from mechbench.analyses.common.steps import Progress, Steps
from mechbench.results.hop_labels import (
    CORRECT,
    INCORRECT,
    KIND,
    LABEL,
    NEITHER,
    SET,
    HopLabels,
)
from mechbench.shapes import PROMPT
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import LABELS


@torch.inference_mode()
def hop_labels(
    model,
    task: TwoHopTask,
    *,
    method: str = "generate",
    max_new_tokens: int = MAX_NEW_TOKENS,
    cap: int | None = None,
    cap_by: str = "e2_type",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> HopLabels:
    """Whether a model answers each hop, the composition and both shortcuts of every query.

    Args:
        method: "generate", greedy text in which any name of the entity counts; or "argmax", the
            first token, which must begin one of its names.
        max_new_tokens: of "generate".
        cap: keep at most so many queries of each bridge in each set; all by default. The paper's
            helper caps at 100.
        cap_by: what counts as one bridge: "e2_type", as in the paper's code, or "e2", the entity.
        seed: of the bootstrap, and of the draw under a cap.

    Raises:
        TaskError: an unknown method or ``cap_by``, a cap below 1, fewer than two queries, a prompt
            that does not fit the context together with its continuation.
        TokenizerError: "generate" without a tokenizer.

    Source: Biran et al. 2024; the control is our choice.
    """
    clock = Clock()
    check_size(task, 2)
    check_method(model, method)
    bridges = bridge_kinds(task, cap, cap_by)
    steps = Steps(len(LABELS) * len(task), progress, checkpoint)
    answers = ask_all(model, task, method=method, max_new_tokens=max_new_tokens, steps=steps)
    axes = {LABEL: LABELS, PROMPT: range(len(task))}
    share = {"units": "share", "meaning": "right answers"}
    right = labelled(np.stack([answers[label].right for label in LABELS]), axes, **share)
    wrong = labelled(np.stack([answers[label].control for label in LABELS]), axes, **share)
    sets = set_names({label: answers[label].right for label in LABELS})
    kept = within_cap(sets, bridges, cap, seed)
    return HopLabels(
        method=method,
        n_new=n_new_tokens(method, max_new_tokens),
        cap=cap,
        cap_by=cap_by,
        questions=_texts(np.array([task.texts(label) for label in LABELS], dtype=str), axes),
        wanted=_texts(_wanted(task), axes),
        right=right,
        answers=_texts(np.array([answers[label].texts for label in LABELS], dtype=str), axes),
        log_prob=labelled(
            torch.stack([answers[label].log_prob for label in LABELS]),
            axes,
            units="nats",
            meaning="log-probability of the entity's first token",
        ),
        summary=estimate(right.astype(float), seed=seed),
        by_kind=_by_kind(right, task.kinds, seed),
        control=estimate(wrong.astype(float), seed=seed),
        sets=_texts(sets.astype(str), {PROMPT: axes[PROMPT]}),
        kept=labelled(kept, {PROMPT: axes[PROMPT]}, units="1", meaning="within the cap"),
        share=_shares(sets, kept, seed),
        provenance=clock.provenance(model, task, seed=seed),
    )


def _wanted(task: TwoHopTask) -> np.ndarray:
    """The entity that each question asks for, ``[label prompt]``."""
    return np.array([[e.name for e in task.text_targets(label)] for label in LABELS], dtype=str)


def _texts(values: np.ndarray, axes: dict) -> xr.DataArray:
    return xr.DataArray(values, dims=tuple(axes), coords={k: list(v) for k, v in axes.items()})


def _by_kind(right: xr.DataArray, kinds: tuple[str, ...], seed: int) -> xr.DataArray:
    found = [
        estimate(
            right.isel({PROMPT: np.flatnonzero(np.array(kinds) == kind)}).astype(float), seed=seed
        )
        for kind in dict.fromkeys(kinds)
    ]
    joined = xr.concat(found, dim=KIND).assign_coords({KIND: list(dict.fromkeys(kinds))})
    return joined.transpose("estimate", KIND, LABEL).assign_attrs(right.attrs)


def _shares(sets: np.ndarray, kept: np.ndarray, seed: int) -> xr.DataArray:
    names = (CORRECT, INCORRECT, NEITHER)
    members = np.stack([(sets == name)[kept] for name in names]).astype(float)
    axes = {SET: names, PROMPT: range(int(kept.sum()))}
    return estimate(labelled(members, axes, units="share", meaning="queries"), seed=seed)
