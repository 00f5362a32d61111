"""What a run found about back-patching, and what was published, side by side and kept apart."""

import json
from typing import Any

from mechbench.errors import SpecError
from mechbench.experiments.estimates import with_interval
from mechbench.experiments.tables import TextTable
from mechbench.figures.back_patching_cell import (
    REVERSED,
    UNPATCHED,
    cell_estimates,
    fixed_cell,
)
from mechbench.resources import bundled
from mechbench.results.back_patching import (
    ANY_CELL,
    BACK,
    CHOICE,
    CORRECT,
    FIXED_CELL,
    FORWARD,
    INCORRECT,
    MEAN_CELL,
    MEASURE,
    MEASURES,
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


def control_table(
    result: BackPatching, *, rule: str, group: str, position: str, cell: tuple[int, int] | None
) -> TextTable:
    """Shares right with intervals: of one cell, of the fixed cell, of any and over all cells.

    Args:
        rule, group, position: as of ``back_patching_cell_figure``.
        cell: source and target layer; None leaves it out.
    """
    at = {RULE: rule, SET: group, POSITION: position}
    own: dict[str, str] = {}
    if cell is not None:
        found = cell_estimates(result, rule, group, position, *cell)
        own = {name: with_interval(value) for name, value in found.items()}
        if REVERSED in own:
            own[FORWARD if cell[0] > cell[1] else BACK] = own.pop(REVERSED)
    fixed = " to ".join(map(str, fixed_cell(result, rule, position)))
    n = result.n_run(group)
    scored = result.n_scored if group == INCORRECT else n
    columns = (
        "share right",
        *(() if cell is None else (f"cell {cell[0]} to {cell[1]}, n={n}",)),
        f"fixed cell {fixed}, n={scored}",
        f"any cell, n={n}",
        f"mean over cells, n={n}",
    )
    rates = {
        rate: {m: with_interval(result.rates.sel({**at, RATE: rate, MEASURE: m})) for m in MEASURES}
        for rate in (FIXED_CELL, ANY_CELL, MEAN_CELL)
    }
    names = [name for name in (UNPATCHED, *MEASURES) if name in own or name in MEASURES]
    rows = [
        (
            name,
            *(() if cell is None else (own.get(name, "not run"),)),
            *(rates[rate].get(name, "") for rate in rates),
        )
        for name in names
    ]
    return TextTable(columns, tuple(rows))


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
