"""What a run found about back-patching, and what was published, side by side and kept apart."""

import json
from typing import Any

from mechbench.errors import SpecError
from mechbench.experiments.estimates import with_interval
from mechbench.experiments.tables import TextTable
from mechbench.resources import bundled
from mechbench.results.back_patching import (
    ANY_CELL,
    BACK,
    CHOICE,
    CORRECT,
    FIXED_CELL,
    FORWARD,
    INCORRECT,
    MEASURE,
    NOISE_STATE,
    OTHER_ANSWER,
    OTHER_STATE,
    RATE,
    RULE,
    SET,
    SOURCE,
    TARGET,
    BackPatching,
)
from mechbench.shapes import POSITION

_FILE = bundled("circuits") / "backpatch_gpt2" / "published.json"
_CONTROLS = (OTHER_STATE, NOISE_STATE, FORWARD, OTHER_ANSWER)


def back_patching_lines(result: BackPatching) -> list[str]:
    """A sentence for each position: the existence rate, the fixed cell, and their controls."""
    return [_line(result, str(place)) for place in result.rates[POSITION].values]


def _line(result: BackPatching, place: str) -> str:
    rule = str(result.rates[RULE].values[-1])
    at = result.rates.sel({RULE: rule, SET: INCORRECT, POSITION: place})
    cell = result.fixed_cells.sel({RULE: rule, POSITION: place, MEASURE: BACK})
    source, target = (int(cell.sel({CHOICE: c})) for c in (SOURCE, TARGET))
    parts = []
    for rate, name in (
        (ANY_CELL, "any cell"),
        (FIXED_CELL, f"the fixed cell {source} to {target}"),
    ):
        found = {m: with_interval(at.sel({RATE: rate, MEASURE: m})) for m in (BACK, *_CONTROLS)}
        controls = ", ".join(f"{m} {found[m]}" for m in _CONTROLS)
        parts.append(f"{name} {found[BACK]} ({controls})")
    return (
        f"Back-patching at {place}, share of the incorrect set answered right by its {rule}: "
        f"{'; '.join(parts)}. Any cell is inflated by the number of tries; n = "
        f"{result.n_run(INCORRECT)}, fixed cell n = {result.n_scored}."
    )


def back_patching_tables(result: BackPatching) -> tuple[tuple[str, ...], tuple[TextTable, ...]]:
    """Paragraphs about the published numbers, and a table of them beside the measured ones.

    Raises:
        SpecError: the published numbers cannot be read.
    """
    data = _published()
    paper, settings = data["paper"], data["settings"]
    tags = "; ".join(f"{tag}: {meaning}" for tag, meaning in data["tags"].items())
    text = (
        f"{paper['authors']}: {paper['title']}. {paper['where']}, arXiv {paper['arxiv']}. "
        f"Published for {data['models']}: {settings['what']} ({settings['tag']}).",
        f"Evidence of the published numbers. {tags}. Not found: {data['not_found']}.",
        f"Measured here: {result.provenance.model}, another model, other queries and other sets. "
        "The columns stand side by side and are not comparable.",
    )
    return text, (_table(result, data["rows"]),)


def _published() -> dict[str, Any]:
    try:
        return json.loads(_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"The published numbers in {_FILE} cannot be read: {error}.") from error


def _table(result: BackPatching, rows: list[dict[str, str]]) -> TextTable:
    rule = str(result.rates[RULE].values[-1])
    here = {name: _here(result, rule, name) for name in (INCORRECT, CORRECT)}
    return TextTable(
        ("share of queries", "published", f"measured here, by {rule}"),
        tuple(
            (
                f"{row['what']} ({row['note']})" if "note" in row else row["what"],
                f"{row['value']} ({row['tag']})",
                here[row["set"]],
            )
            for row in rows
        ),
        title="Back-patching: published on other models, and measured here",
    )


def _here(result: BackPatching, rule: str, name: str) -> str:
    if not result.n_run(name):
        return "no such query"
    at = result.rates.sel({RULE: rule, SET: name, RATE: ANY_CELL, MEASURE: BACK})
    return "; ".join(
        f"{place} {with_interval(at.sel({POSITION: place}))}" for place in at[POSITION].values
    )
