"""The queries that a two-hop analysis looks at, in groups: all, or those of the two sets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from mechbench.analyses.common.estimates import ESTIMATE, estimate
from mechbench.analyses.common.frame import check_size
from mechbench.analyses.common.hops import MAX_NEW_TOKENS, ask_all, check_method, set_names
from mechbench.analyses.common.steps import Steps
from mechbench.errors import TaskError
from mechbench.results.hop_labels import CORRECT, INCORRECT
from mechbench.results.query_groups import ALL, GROUP
from mechbench.shapes import LAYER, PROMPT
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_texts import LABELS


@dataclass(frozen=True)
class QueryGroups:
    """Queries, and which of them belong to which group.

    Attributes:
        task: the queries of all groups together.
        members: indices into it by the group's name.
    """

    task: TwoHopTask
    members: Mapping[str, np.ndarray]

    @property
    def counts(self) -> dict[str, int]:
        """How many queries there are in each group."""
        return {name: len(indices) for name, indices in self.members.items()}


def n_label_steps(task: TwoHopTask, labels: str | None) -> int:
    """Steps that ``query_groups`` counts."""
    return 0 if labels is None else len(LABELS) * len(task)


def check_groups(model, task: TwoHopTask, labels: str | None, most: int | None) -> None:
    """Raises TaskError or TokenizerError for arguments of ``query_groups`` that do not fit."""
    check_size(task, 2)
    if most is not None and most < 1:
        raise TaskError(f"most={most} must be at least 1, or null for all.")
    if labels is not None:
        check_method(model, labels)


def query_groups(
    model, task: TwoHopTask, *, labels: str | None, most: int | None, seed: int, steps: Steps
) -> QueryGroups:
    """The queries by set, or all of them.

    Args:
        labels: how the model's answers are scored, "argmax" or "generate": then the groups are the
            queries of the correct and of the incorrect set. None makes one group of all.
        most: keep at most so many queries of each group, drawn by the seed.

    Raises:
        TaskError: no query is in either set.
    """
    rng = np.random.default_rng(seed)
    if labels is None:
        kept = np.sort(rng.permutation(len(task))[:most])
        return QueryGroups(task.select(kept.tolist()), {ALL: np.arange(len(kept))})
    answers = ask_all(model, task, method=labels, max_new_tokens=MAX_NEW_TOKENS, steps=steps)
    sets = set_names({label: found.right for label, found in answers.items()})
    chosen = {
        name: np.sort(rng.permutation(np.flatnonzero(sets == name))[:most])
        for name in (CORRECT, INCORRECT)
    }
    if not any(len(indices) for indices in chosen.values()):
        shares = ", ".join(f"{label} {np.mean(a.right):.2f}" for label, a in answers.items())
        raise TaskError(
            f"None of the {len(task)} queries is in the correct or the incorrect set (right "
            f"answers: {shares}). Use other queries, or labels=None (null) for all of them."
        )
    start, members = 0, {}
    for name, indices in chosen.items():
        if len(indices):
            members[name] = np.arange(start, start + len(indices))
            start += len(indices)
    return QueryGroups(task.select(np.concatenate(list(chosen.values())).tolist()), members)


def by_group(values: xr.DataArray, groups: QueryGroups, *, seed: int) -> xr.DataArray:
    """Means over the prompts of each group with their intervals: ``(estimate, group, ...)``."""
    found = [
        estimate(values.isel({PROMPT: indices}).astype(float), seed=seed)
        for indices in groups.members.values()
    ]
    joined = xr.concat(found, dim=GROUP).assign_coords({GROUP: list(groups.members)})
    return joined.transpose(ESTIMATE, GROUP, ...).assign_attrs(values.attrs)


def first_layer(found: xr.DataArray, layer: str = LAYER) -> xr.DataArray:
    """The first layer at which something was found; NaN where it never was. Drops ``layer``."""
    layers = found[layer].astype(float)
    first = layers.where(found).min(layer).rename(None)
    return first.assign_attrs(units="1", long_name="first layer")
