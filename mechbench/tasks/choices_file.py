"""Multiple-choice questions from a file or a data set: ARC, CommonsenseQA, or one's own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from mechbench.errors import TaskError
from mechbench.tasks.choice_items import ChoiceItem, GoldPlaces, choice_labels, placed
from mechbench.tasks.choice_rows import choice_columns, choice_item
from mechbench.tasks.choice_task import ChoiceTask, choice_task
from mechbench.tasks.choice_tokens import choice_tokens, label_token_ids
from mechbench.tasks.dataset_source import is_dataset, open_dataset, open_parquet
from mechbench.tasks.prompt_rows import BadRow, Table, raise_bad_rows, read_table
from mechbench.tasks.seeds import seeded
from mechbench.tasks.tokens import bos_id

_WANTED = ("question", "options", "answer")


def load_choices(path: Any, tokenizer: Any, **options: Any) -> ChoiceTask:
    """The task on the questions of a file or data set; ``options`` as those of ``choices_file``.

    Raises:
        TaskError, TokenizerError: as ``choices_file``.
    """
    return choices_file(tokenizer, path, **options)


def choices_file(
    tokenizer: Any,
    path: Any,
    *,
    question: str | None = None,
    options: str | Sequence[str] | None = None,
    answer: str | None = None,
    set_column: str | None = None,
    set_name: str | None = None,
    n: int | None = None,
    seed: int = 0,
    labels: str | Sequence[str] = "A",
    gold: GoldPlaces = "as_given",
    first_index: int = 0,
    bad_rows: Literal["refuse", "skip"] = "refuse",
    config: str | None = None,
    split: str = "train",
) -> ChoiceTask:
    """The task on the questions of a file (CSV, JSONL, parquet) or data set (saved, of the hub).

    Options are a list of texts (in CSV a JSON list), ``{text, label}`` as in ARC and CommonsenseQA,
    or one column each (``A``, ``B``, ...). The answer is the row's own label of an option
    (``A``, ``B``, ... where it has none), the option's text, or its number; the first of these that
    fits is taken. The prompts' labels are ``labels``, whatever the rows call their options. ARC and
    CommonsenseQA in the layout of their release (``question.stem``, ``question.choices``) are read
    as well.

    Args:
        tokenizer: Hugging Face's interface, a fast one.
        path: a ``.csv``, ``.jsonl`` or ``.parquet`` file, a folder saved by ``datasets``, a name of
            the hub (``allenai/ai2_arc``, ``tau/commonsense_qa``), or a ``datasets.Dataset``.
        question, options, answer: column names, several for ``options`` with a column each; by
            default the common spellings in ``mechbench.tasks.choice_rows``.
        set_column: a column that names each row's set.
        set_name: of all rows where there is no such column; by default that of the file,
            configuration or data set.
        n: how many questions, the first of those that are usable; all by default.
        seed: decides which question gets which place, where ``gold`` moves the right options.
        labels: the first of consecutive letters or digits (``"A"``, ``"1"``, ``"P"``), or a list.
        gold: ``"as_given"``, ``"balanced"`` or ``"not_first"``, as for ``multiple_choice``.
        first_index: what a number as answer counts from.
        bad_rows: rows that cannot be used are an error that lists them (``"refuse"``), or are left
            out and counted (``"skip"``).
        config, split: of a data set that has several.

    Raises:
        TaskError: no readable rows, a missing column, an ``n`` below 1, labels that collide; bad
            rows with their lines: options that collide, are too few or too many, an answer that is
            none of them, labels or options that are split differently in the prompt (the tokens
            are shown).
        TokenizerError: no BOS token, or a label of several tokens.

    Source: the columns of ARC (Clark et al. 2018) and CommonsenseQA (Talmor et al. 2019) as
        published.
    """
    if n is not None and n < 1:
        raise TaskError(f"choices_file needs n of at least 1, got {n}.")
    table = _table(path, config, split)
    columns = choice_columns(
        table, question=question, options=options, answer=answer, sets=set_column
    )
    name = set_name or config or Path(table.name).stem
    rows = [
        row if isinstance(row, BadRow) else choice_item(row, columns, name, first_index)
        for row in table.rows
    ]
    wheres = [row.where for row in table.rows]
    good, bad = _fitting(tokenizer, rows, wheres, labels)
    if bad_rows == "refuse" or not good:
        raise_bad_rows(table.name, bad, len(table.rows))
    task = choice_task(
        tokenizer,
        placed(good[:n], gold, seeded(seed, len(good[:n]))),
        labels=labels,
        source={
            "generator": "choices_file",
            "file": table.name,
            "config": config,
            "split": split if config or not Path(table.name).suffix else None,
            "columns": vars(columns),
            "seed": seed,
            "gold": gold,
            "left_out": {"bad_rows": len(bad), "beyond_n": len(good) - len(good[:n])},
        },
    )
    return replace(task, name="choices_file")


def _fitting(
    tokenizer: Any,
    rows: Sequence[ChoiceItem | BadRow],
    wheres: Sequence[str],
    labels: str | Sequence[str],
) -> tuple[list[ChoiceItem], list[BadRow]]:
    """The questions whose labels and options are found among the tokens, and all other rows."""
    bad = [row for row in rows if isinstance(row, BadRow)]
    found = [(r, where) for r, where in zip(rows, wheres, strict=True) if isinstance(r, ChoiceItem)]
    if not found:
        return [], bad
    items = [item for item, _ in found]
    chosen = choice_labels(labels, max(len(item.options) for item in items))
    ids = label_token_ids(tokenizer, chosen)
    good = []
    split = choice_tokens(tokenizer, items, chosen, ids, bos_id(tokenizer))
    for (item, where), tokens in zip(found, split, strict=True):
        if isinstance(tokens, str):
            bad.append(BadRow(where, tokens))
        else:
            good.append(item)
    return good, bad


def _table(path: Any, config: str | None, split: str) -> Table:
    if isinstance(path, str | Path) and Path(path).suffix.lower() == ".parquet":
        return replace(read_table(open_parquet(path), wanted=_WANTED), name=Path(path).name)
    if not is_dataset(path):
        return read_table(path, wanted=_WANTED)
    table = read_table(open_dataset(path, config=config, split=split), wanted=_WANTED)
    return replace(table, name=Path(path).name if Path(path).is_dir() else str(path))
