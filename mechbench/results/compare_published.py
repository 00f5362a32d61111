"""Result of setting a published circuit beside what is found here."""

from dataclasses import dataclass

import xarray as xr

from mechbench.results.base import Result


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparePublished(Result):
    """Published and measured numbers in separate fields, never mixed.

    ``comparable`` tells whether the published numbers are about this model and ``statement`` says
    so in words; where they are not, every ``*_here`` field about the published heads is None, and
    only ``found_heads`` and ``found_roles`` are measured. ``overlap`` counts heads in both circuits
    and in one alone; ``overlap_p_value`` is the chance that as many or more of a random set of the
    same size are published heads.

    ``cumulative_published`` (step answer), in logits, is LD with heads added one by one, and
    ``cumulative_here`` (estimate step answer) the same here; ``full_published`` (answer) and
    ``full_here`` (estimate answer) are the intact model. ``effects_published`` (effect) and
    ``effects_here`` (estimate effect), in logits, are head patching effects, negative is damage;
    ``effect_tags`` are the evidence tags of the published ones. Estimate is mean, low, high of a
    95 % bootstrap interval over prompts; published numbers come without one.
    """

    comparable: bool
    statement: str
    source: str
    tags: dict[str, str]
    published_model: str
    published_heads: tuple[str, ...]
    published_roles: dict[str, str]
    found_heads: tuple[str, ...]
    found_roles: dict[str, str]
    overlap: dict[str, int] | None
    overlap_p_value: float | None
    cumulative_published: xr.DataArray
    cumulative_here: xr.DataArray | None
    full_published: xr.DataArray
    full_here: xr.DataArray | None
    effects_published: xr.DataArray
    effects_here: xr.DataArray | None
    effect_tags: tuple[str, ...]
