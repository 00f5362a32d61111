"""Result of setting published numbers about anchored answers beside what is measured here."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result

ROW, COLUMN = "row", "column"
MEASURED, UNTESTED = "measured here", "untested here"


@dataclass(frozen=True, kw_only=True, eq=False)
class CompareChoices(Result):
    """Published and measured numbers in separate fields, never mixed.

    ``comparable`` tells whether the published numbers of ``published_model`` are about this model,
    and ``statement`` says so in words. The axis ``row`` names a number and its set ("anchored rate,
    ioi"). ``published`` (row) is what is reported for ``published_model`` (NaN where nothing is),
    ``tags`` the evidence of each (explained in ``tag_meanings``), and ``published_everywhere`` (row
    column) what is reported for every model. ``here`` (estimate row) is measured on ``n`` prompts
    each, NaN where it was not, and then ``status`` says "untested here" and ``reasons`` why. All
    are shares of prompts; published numbers come without intervals, measured ones with 95 %
    bootstrap intervals over prompts.

    ``edited_published`` is the value vector that the paper edits in ``published_model`` and
    ``found`` are those that ``value_vectors`` finds here. ``unassigned`` are published numbers for
    which no model is stated.
    """

    comparable: bool
    statement: str
    source: str
    tag_meanings: dict[str, str]
    published_model: str
    published: xr.DataArray
    published_everywhere: xr.DataArray
    tags: tuple[str, ...]
    here: xr.DataArray
    n: tuple[int, ...]
    status: tuple[str, ...]
    reasons: dict[str, str]
    edited_published: str | None
    found: tuple[str, ...]
    unassigned: dict[str, float]
