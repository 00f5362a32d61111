"""The parts of a caption, and what becomes of it where a user writes another."""

import re
from typing import Literal

from mechbench.errors import MechbenchError, did_you_mean

Keeps = Literal["all", "evidence", "nothing"]
KEEPS: tuple[Keeps, ...] = ("all", "evidence", "nothing")
_EVIDENCE = re.compile(r"(?:^| )(Model \S[^()]* \([^)]*\), [\d,]+ prompts of .+)$")


def evidence_in(caption: str) -> str:
    """The last sentences of ``caption``, which say model, n and interval; "" without such."""
    found = _EVIDENCE.search(caption)
    return found[1] if found else ""


def combined(given: str, own: str, keeps: Keeps) -> str:
    """The caption ``given`` by a user, followed by what it ``keeps`` of the figure's ``own``.

    "all" is method, model, n and interval; "evidence" is model, n and interval.
    """
    rest = {"all": own, "evidence": evidence_in(own), "nothing": ""}[keeps]
    stop = "." if rest and given[-1:] not in ".!?:;" else ""
    return f"{given}{stop} {rest}".strip()


def check_keeps(name: str) -> Keeps:
    """``name``, which is one of ``KEEPS``.

    Raises
        MechbenchError for another, naming those there are.
    """
    for known in KEEPS:
        if name == known:
            return known
    raise MechbenchError(
        f"Unknown part of a caption {name!r}. {did_you_mean(name, KEEPS)} "
        f"Parts that can be kept: {', '.join(KEEPS)}."
    )
