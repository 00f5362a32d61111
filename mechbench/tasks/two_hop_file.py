"""Two-hop queries from a CSV or JSONL file or a dataset, in the published layout."""

import ast
from collections.abc import Mapping
from typing import Any, Literal

from mechbench.errors import TaskError
from mechbench.tasks.dataset_source import is_dataset, open_dataset
from mechbench.tasks.prompt_rows import BadRow, Record, Table, read_table, text_problem
from mechbench.tasks.two_hop import TwoHopTask
from mechbench.tasks.two_hop_build import tokenized
from mechbench.tasks.two_hop_texts import (
    COMPOSITION,
    ENGLISH,
    Entity,
    Templates,
    TwoHopQuery,
    prompt_text,
)

_ENTITIES = ("e1", "e2", "e3")
_NEEDED = ("e1_label", "e2_label", "e3_label")
_PROMPTS = ("source_prompt", "prompt")
_UNKNOWN = ("", "nan", "None")


def load_two_hop(
    path: Any,
    tokenizer: Any,
    *,
    n: int | None = None,
    family: Literal["relation_first", "entity_first"] = "relation_first",
    bad_rows: Literal["refuse", "skip"] = "refuse",
    config: str | None = None,
    split: str = "train",
    templates: Templates = ENGLISH,
    bos: bool = True,
) -> TwoHopTask:
    """The task on the rows of a file or dataset, one query a row.

    Columns: ``e1_label``, ``e2_label``, ``e3_label``; for each relation ``r1_template`` (``the
    performer of {}``) or ``r1_label`` (``performer``), and the same of ``r2``; optionally
    ``e1_aliases`` and so on (a list, or a Python or JSON list as text), ``e2_type``, ``kind``, and
    ``source_prompt`` (or ``prompt``), which the prompt made of the others must then equal. Further
    columns are ignored: those of the published evaluation (``first_hop_correct`` and so on) are
    about another model.

    Of the published layout these column names are known from the public code that writes and reads
    the file. Not confirmed, for want of the file itself: whether it has the templates (the code
    saves it once without them), whether the prompt's column is ``source_prompt`` or ``prompt``
    (the code makes the first and selects the second), and how missing aliases are written (here an
    empty field, ``nan`` or ``None`` is no alias).

    Args:
        path: a ``.csv`` or ``.jsonl`` file, a folder saved by ``datasets``, a name of the hub
            (``owner/name``), or a ``datasets.Dataset``.
        n: how many queries, the first of those that are usable; all by default.
        family: ``"entity_first"`` demands that ``r2`` puts its entity first (``{} is performed
            by``), so that its template says how prompts end; ``"relation_first"`` that it does
            not.
        bad_rows: rows that cannot be used are an error that lists them (``"refuse"``), or are left
            out and counted (``"skip"``).
        config, split: of a dataset that has several.
        templates: for relations that are names, and around the phrases.
        bos: whether BOS stands at position 0.

    Raises:
        TaskError: no readable rows, a missing column (those that are there are named), an ``n``
            below 1, or bad rows, with lines: empty labels, two entities that are the same, aliases
            that are no list, a template without its gap, a prompt that the templates do not make,
            a span that is not made of whole tokens (which are shown).
        TokenizerError: no BOS token, or a tokenizer that tells no offsets.

    Source: Biran et al. 2024 for the layout.
    """
    if n is not None and n < 1:
        raise TaskError(f"load_two_hop needs n of at least 1, got {n}.")
    table = _table(path, config, split)
    table.require(_NEEDED)
    relations = {r: _relation_column(table, r) for r in ("r1", "r2")}
    read = [
        row if isinstance(row, BadRow) else _query(row, relations, family, templates)
        for row in table.rows
    ]
    bad = [row for row in read if isinstance(row, BadRow)]
    good = [row for row in read if not isinstance(row, BadRow)]
    source = {
        "generator": "two_hop_file",
        "file": table.name,
        "family": family,
        "relations": relations,
    }
    task = tokenized(tokenizer, good, templates, bos, source, bad_rows, "two_hop_file", bad)
    return task if n is None or n >= len(task) else task.select(range(n))


def _table(path: Any, config: str | None, split: str) -> Table:
    if is_dataset(path):
        return read_table(open_dataset(path, config=config, split=split), wanted=_NEEDED)
    return read_table(path, wanted=_NEEDED)


def _relation_column(table: Table, relation: str) -> str:
    """The column of a relation; of lines with columns of their own, that of the first."""
    known = table.columns
    if known is None:
        known = next((tuple(row.values) for row in table.rows if isinstance(row, Record)), ())
    for column in (f"{relation}_template", f"{relation}_label"):
        if column in known:
            return column
    raise TaskError(
        f"{table.name} has neither a column {relation}_template nor {relation}_label; it has "
        f"{list(known)}. Name the relations' phrases, such as 'the performer of {{}}', or names."
    )


def _query(
    row: Record, relations: Mapping[str, str], family: str, templates: Templates
) -> tuple[str, TwoHopQuery] | BadRow:
    for column in (*_NEEDED, *relations.values()):
        problem = text_problem(column, row.values.get(column))
        if problem:
            return BadRow(row.where, problem)
    try:
        e1, e2, e3 = (_entity(row.values, e) for e in _ENTITIES)
        r1, r2 = (row.values[relations[r]].strip() for r in ("r1", "r2"))
        query = TwoHopQuery(e1, e2, e3, r1, r2, _text(row, "kind"), _text(row, "e2_type"))
        problem = _problem(row, query, relations, family, templates)
    except TaskError as error:
        problem = str(error)
    return BadRow(row.where, problem) if problem else (row.where, query)


def _problem(
    row: Record, query: TwoHopQuery, relations: Mapping[str, str], family: str, templates: Templates
) -> str | None:
    names = [query.e1.name, query.e2.name, query.e3.name]
    if len(set(names)) < len(names):
        return f"e1, e2 and e3 must differ, got {names}"
    for column, relation in zip(relations.values(), (query.r1, query.r2), strict=True):
        if column.endswith("template") and relation.count("{}") != 1:
            return f"{column}={relation!r} must have one gap {{}} for its entity"
    if templates.entity_first(query.r2) != (family == "entity_first"):
        return f"r2={query.r2!r} is not of the family {family!r}"
    made = prompt_text(query, COMPOSITION, templates)
    given = next((t for column in _PROMPTS if (t := _text(row, column))), made)
    return None if given == made else f"its prompt is {given!r}, and the templates make {made!r}"


def _entity(values: Mapping[str, Any], entity: str) -> Entity:
    aliases = values.get(f"{entity}_aliases")
    if isinstance(aliases, str) or aliases is None or aliases != aliases:  # NaN of a data frame
        text = "" if not isinstance(aliases, str) else aliases.strip()
        try:
            aliases = [] if text in _UNKNOWN else ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two: too deep
            raise TaskError(f"{entity}_aliases={text!r} is not a list of texts") from None
    if not isinstance(aliases, list | tuple) or not all(isinstance(a, str) for a in aliases):
        raise TaskError(f"{entity}_aliases={aliases!r} is not a list of texts")
    names = dict.fromkeys(alias.strip() for alias in aliases if alias.strip())
    return Entity(values[f"{entity}_label"].strip(), tuple(names))


def _text(row: Record, column: str) -> str:
    value = row.values.get(column)
    return value.strip() if isinstance(value, str) else ""
