"""What a paper reports about a circuit, kept apart from what is measured here."""

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from mechbench.experiments.back_patching_summary import back_patching_tables
from mechbench.experiments.estimates import with_interval
from mechbench.experiments.published_choices import (
    choices_tables,
    choices_text,
    choices_untested,
)
from mechbench.experiments.tables import TextTable
from mechbench.results.back_patching import BackPatching
from mechbench.results.base import Result
from mechbench.results.compare_choices import CompareChoices
from mechbench.results.compare_published import ComparePublished
from mechbench.shapes import ANSWER

_UNTESTED = (
    "Nothing on this page was measured on {published}: every statement about {published} is "
    "published, or untested here. To test it where its weights can be loaded: "
    "mechbench run acronyms --model gpt2"
)
_ELSEWHERE = "Other models than {published}, other tasks and other prompts are untested here."
_THEIR_MODELS = (
    "The models of the published numbers, and other models, tasks and prompts than these, are "
    "untested here."
)


@dataclass(frozen=True)
class Published:
    """Paragraphs and tables of published numbers, and what was not tested here.

    ``comparable`` says whether the tables hold numbers that were measured here as well.
    """

    text: tuple[str, ...]
    tables: tuple[TextTable, ...]
    untested: tuple[str, ...]
    comparable: bool = False


def published_section(results: Mapping[str, Result]) -> Published:
    """The published circuit, and side by side with what was found where it is the same model's."""
    choices = [r for r in results.values() if isinstance(r, CompareChoices)]
    if choices:
        found = choices[0]
        tables, untested = choices_tables(found), choices_untested(found)
        return Published(choices_text(found), tables, untested, found.comparable)
    compared = [r for r in results.values() if isinstance(r, ComparePublished)]
    patched = [r for r in results.values() if isinstance(r, BackPatching)]
    if patched and not compared:
        return Published(*back_patching_tables(patched[0]), (_THEIR_MODELS,), True)
    if not compared:
        text = "Nothing published was set beside this run."
        return Published((text,), (), (_ELSEWHERE.format(published="this one"),))
    result = compared[0]
    tags = "; ".join(f"{tag}: {meaning}" for tag, meaning in result.tags.items())
    text = (result.source, f"Evidence of the published numbers. {tags}.", result.statement)
    tables = (_heads_table(result), _cumulative_table(result), _effects_table(result))
    untested = _ELSEWHERE if result.comparable else _UNTESTED
    return Published(
        text, tables, (untested.format(published=result.published_model),), result.comparable
    )


def _heads_table(result: ComparePublished) -> TextTable:
    if not result.comparable:
        rows = tuple((h, result.published_roles[h]) for h in result.published_heads)
        return TextTable(
            ("head", "published group"),
            rows,
            title=f"Circuit of {result.published_model}, as published",
        )
    heads = dict.fromkeys([*result.published_heads, *result.found_heads])
    rows = tuple(
        (head, result.published_roles.get(head, "–"), result.found_roles.get(head, "–"))
        for head in heads
    )
    return TextTable(
        ("head", "published group", "found here"),
        rows,
        title=f"Circuit of {result.published_model}: published and found",
        note=_overlap_note(result),
    )


def _overlap_note(result: ComparePublished) -> str:
    if result.overlap is None or result.overlap_p_value is None:
        return ""
    counts = ", ".join(f"{what}: {n}" for what, n in result.overlap.items())
    return f"Heads {counts}. As many by chance: p = {result.overlap_p_value:.2g}."


def _cumulative_table(result: ComparePublished) -> TextTable:
    published = result.cumulative_published
    steps = [str(step) for step in published["step"].values]
    rows = [
        (step, _letters(published.sel(step=step)), _letters_here(result.cumulative_here, step=step))
        for step in steps
    ]
    rows.append(("whole model", _letters(result.full_published), _letters_here(result.full_here)))
    return _side_by_side(
        "head added",
        rows,
        here=result.cumulative_here is not None,
        title="Logit difference of letters 1, 2, 3 as heads are added to a mean-ablated model",
    )


def _effects_table(result: ComparePublished) -> TextTable:
    rows = []
    for i, name in enumerate(result.effects_published["effect"].values):
        value = f"{float(result.effects_published.isel(effect=i)):.2f}"
        measured = result.effects_here
        here = "" if measured is None else with_interval(measured.isel(effect=i))
        rows.append((str(name), f"{value} ({result.effect_tags[i]})", here))
    return _side_by_side(
        "effect of patching a head (logits)",
        rows,
        here=result.effects_here is not None,
        title="Head patching",
    )


def _side_by_side(
    first: str, rows: list[tuple[str, str, str]], *, here: bool, title: str
) -> TextTable:
    if here:
        return TextTable((first, "published", "measured here"), tuple(rows), title=title)
    return TextTable((first, "published"), tuple(row[:2] for row in rows), title=title)


def _letters(values: xr.DataArray) -> str:
    return ", ".join(f"{float(v):.2f}" for v in values.values)


def _letters_here(values: xr.DataArray | None, **at: str) -> str:
    if values is None:
        return ""
    chosen = values.sel(at)
    return ", ".join(with_interval(chosen.isel({ANSWER: i})) for i in range(chosen.sizes[ANSWER]))
