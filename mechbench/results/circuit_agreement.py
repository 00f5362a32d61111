"""Result of comparing two circuits."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from mechbench.results.base import Result

EDGES, NODES, HEADS = "edges", "nodes", "heads"
FOUND, BY_CHANCE = "found", "by chance"


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitAgreement(Result):
    """How far two circuits of one model agree.

    ``levels`` says what was compared: edges and nodes, or heads where one side names heads alone.
    Nodes are heads and MLPs; the input and the logits are in every circuit and do not count.
    ``one`` and ``other`` describe the sides, ``members`` holds for each level what both have
    ("both"), only the one and only the other; ``candidates`` how many there are in the model.

    ``iou`` (level kind) is the shared part over all of both; ``kind`` is "found", or "by chance":
    its expectation for random sets of the same sizes. ``p_value`` (level) is the chance that random
    sets share as many (hypergeometric).

    ``recall`` (kind k) is the share of the other circuit among the first ``k`` of the one side's
    ranking, of ``recall_level``; None where the one side has no scores. Heads are ranked by the
    strongest edge that leaves them. By chance it is k over the number of candidates. The ranking is
    by ``rank`` score; edges without a score come last, in no order, and are never recalled.

    There is no interval: the sets are compared as they are.
    """

    one: dict[str, Any]
    other: dict[str, Any]
    rank: str
    levels: tuple[str, ...]
    members: dict[str, dict[str, tuple[str, ...]]]
    candidates: dict[str, int]
    iou: xr.DataArray
    p_value: xr.DataArray
    recall: xr.DataArray | None
    recall_level: str | None
