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
    that holds a figure (``NAME.figure.json``), or a file that holds a basket.

    Raises
        StoreError for a source that is none of these, naming the nearest.
    """
    basket = Basket()
    for source in sources:
        basket = Basket((*basket.entries, *_collected(source, root).entries))
    return basket


def run_of(source: str, root: Path) -> Run | None:
    """The run that ``source`` is or is a figure of; None where it is a file."""
    return None if _is_file(source) else _run_and_step(source, root)[0]


def _collected(source: str, root: Path) -> Basket:
    if _is_file(source):
        return _from_file(Path(source))
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


def _is_file(source: str) -> bool:
    return Path(source).suffix == ".json"


def _from_file(path: Path) -> Basket:
    text = read_text(path, "figure or basket")
    if _holds_basket(text):
        return Basket.from_json(text, folder=path.parent)
    return Basket().add(FigureSpec.from_json(text), source=path.name)


def _holds_basket(text: str) -> bool:
    try:
        stored = json.loads(text)
    except ValueError:
        return False
    return isinstance(stored, dict) and "basket" in stored
