"""Result of asking a model the five questions of each two-hop query."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mechbench.results.base import Result

LABEL, KIND, SET = "label", "kind", "set"
CORRECT, INCORRECT, NEITHER = "correct", "incorrect", "neither"
FIRST_HOP, COMPOSITION = "first_hop", "composition"
_HOPS = (FIRST_HOP, "second_hop")
_SHORTCUTS = ("entity_shortcut", "relation_shortcut")


@dataclass(frozen=True, kw_only=True, eq=False)
class HopLabels(Result):
    """Which questions a model answers: first hop, second hop, composition, two shortcuts.

    ``questions`` (label prompt) are the prompts as text, ``wanted`` (label prompt) the entity that
    each is scored against. ``right`` (label prompt) is true where the answer names it, ``answers``
    (label prompt) what the model said, ``log_prob`` (label prompt) that of the
    entity's first token, in nats. ``method`` is "generate" (greedy text of at most ``n_new``
    tokens, any name of the entity as part of it) or "argmax" (the first token alone).

    ``summary`` (estimate label) are shares of right answers, ``by_kind`` (estimate kind label) the
    same for each set that the queries come from, ``control`` (estimate label) the share of answers
    that name the entity of another query.

    ``sets`` (prompt) is "correct" (both hops and the composition right, shortcuts wrong),
    "incorrect" (both hops right, the composition and shortcuts wrong) or "neither"; ``kept``
    (prompt) is false for queries beyond the cap of their kind of bridge, ``share`` (estimate set)
    is of all queries, the capped ones left out. All intervals are 95 % bootstrap intervals over
    prompts.
    """

    method: str
    n_new: int
    cap: int | None
    cap_by: str
    questions: xr.DataArray
    wanted: xr.DataArray
    right: xr.DataArray
    answers: xr.DataArray
    log_prob: xr.DataArray
    summary: xr.DataArray
    by_kind: xr.DataArray
    control: xr.DataArray
    sets: xr.DataArray
    kept: xr.DataArray
    share: xr.DataArray

    def indices(self, name: str) -> tuple[int, ...]:
        """The queries of a set that were kept, as numbers."""
        chosen = (self.sets.values == name) & self.kept.values
        return tuple(int(i) for i in np.flatnonzero(chosen))

    def why(self, query: int) -> str:
        """Why a query is in its set, in words."""
        right = dict(zip(self.right[LABEL].values.tolist(), self.right[:, query], strict=True))
        wrong = [name for name in _HOPS if not right[name]]
        cut = [name for name in _SHORTCUTS if right[name]]
        reasons = [f"{name.replace('_', ' ')} wrong" for name in wrong]
        reasons += [f"{name.replace('_', ' ')} right" for name in cut]
        if not reasons:
            reasons = [f"hops right, composition {'right' if right[COMPOSITION] else 'wrong'}"]
        beyond = "" if bool(self.kept[query]) else "; beyond the cap"
        return ", ".join(reasons) + beyond
