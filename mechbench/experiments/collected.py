"""Figures collected by name: from runs, from stored figures, and from baskets."""

import json
from collections.abc import Sequence
from pathlib import Path

from mechbench.errors import StoreError, did_you_mean
from mechbench.experiments.saved import find_run, saved_figures
from mechbench.figures.basket import Basket
from mechbench.figures.spec import FigureSpec
from mechbench.results.files import read_text
from mechbench.results.run import Run


def collect(sources: Sequence[str], root: Path) -> Basket:
    """The figures of all ``sources``, in their order.

    A source is a run below ``root`` (``RUN``: all its figures; ``RUN:STEP``: one of them), a file
    that holds a figure (``NAME.figure.json``), or one that holds a basket (``FILE``: all its
    figures; ``FILE:NAME``: one of them).

    Raises
        StoreError for a source that is none of these, naming the nearest;
        MechbenchError for a name that a basket does not have.
    """
    basket = Basket()
    for source in sources:
        basket = Basket((*basket.entries, *_collected(source, root).entries))
    return basket


def run_of(source: str, root: Path) -> Run | None:
    """The run that ``source`` is or is a figure of; None where it is a file."""
    return None if _file_and_name(source) else _run_and_step(source, root)[0]


def basket_in(text: str, source: str, *, folder: Path | None = None) -> Basket:
    """The basket that ``text`` holds, or the one of the only figure that it holds.

    Args:
        source: where the figure is said to come from.
        folder: below which a basket may name files; without it no file is opened.

    Raises:
        StoreError: neither a basket nor a figure.
    """
    if holds_basket(text):
        return Basket.from_json(text, folder=folder)
    return Basket().add(FigureSpec.from_json(text), source=source)


def _collected(source: str, root: Path) -> Basket:
    file = _file_and_name(source)
    if file is not None:
        path, name = file
        basket = basket_in(read_text(path, "figure or basket"), path.name, folder=path.parent)
        return basket if name is None else Basket((basket.entries[basket.place_of(name)],))
    run, wanted = _run_and_step(source, root)
    figures = saved_figures(run)
    if wanted is not None and wanted not in figures:
        hint = did_you_mean(wanted, figures) if figures else "It has none yet."
        raise StoreError(f"The run {run.run_id} has no figure {wanted!r}. {hint}")
    basket = Basket()
    for step, figure in figures.items():
        if wanted in (None, step):
            basket = basket.add(figure, source=f"run {run.run_id}, step {step}")
    return basket


def _run_and_step(source: str, root: Path) -> tuple[Run, str | None]:
    name, colon, step = source.rpartition(":")
    return (find_run(name, root), step) if colon else (find_run(source, root), None)


def _file_and_name(source: str) -> tuple[Path, str | None] | None:
    """The file that a source names, and which of its figures; None where it names a run."""
    if Path(source).suffix == ".json":
        return Path(source), None
    file, colon, name = source.rpartition(":")
    return (Path(file), name) if colon and Path(file).suffix == ".json" else None


def holds_basket(text: str) -> bool:
    """True where ``text`` is JSON that is meant as a basket, be it a good one or not."""
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and "basket" in stored
