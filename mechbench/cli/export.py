"""``mechbench export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechbench.cli.options import DEFAULT_STORE, Store

if TYPE_CHECKING:
    from mechbench.figures.basket import Basket

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="In the order wanted: runs (RUN: all figures; RUN:STEP: one), figure.json files and "
        "baskets.",
    ),
]
Captions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=TEXT", help="Another caption for one figure; TEXT alone if there is but one."
    ),
]
_FOLDER = Path("figures")


def export(
    sources: Sources,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="pdf,svg,png,html",
            help="Separated by commas; by default pdf,svg, in a ZIP file html too.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="column|text",
            help="Width: one column (3.25 in) or the text (6.75 in); by default column, or what "
            "the basket says.",
        ),
    ] = None,
    caption: Captions = None,
    zip_: Annotated[
        Path | None,
        typer.Option("--zip", help="Write one ZIP file: all figures, figures.tex, provenance."),
    ] = None,
    basket: Annotated[
        Path | None,
        typer.Option(help="Also save the basket as a JSON file, to change and export again."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the files; by default RUN/figures/PRESET for one run, else 'figures'."
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Draw figures of runs again, as files for a paper. No model is loaded."""
    from mechbench.experiments.collected import collect
    from mechbench.figures.basket_zip import ZIP_FORMATS, write_zip

    chosen = _with_options(collect(sources, store), preset, caption or [])
    formats = None if format_ is None else [name.strip() for name in format_.split(",")]
    if basket is not None:
        _print_path(chosen.save(basket))
    if zip_ is not None:
        _print_path(write_zip(chosen, zip_, formats or ZIP_FORMATS))
    if out is not None or (zip_ is None and basket is None):
        _write_files(chosen, out or _folder(sources, store, preset), formats or ["pdf", "svg"])


def _with_options(basket: "Basket", preset: str | None, captions: list[str]) -> "Basket":
    if preset is not None:
        for index in range(len(basket.entries)):
            basket = basket.with_preset(index, preset)
    names = [figure.name for figure in basket.figures()]
    for text in captions:
        name, equals, caption = text.partition("=")
        if len(names) == 1 and not (equals and name in names):
            name, caption = names[0], text
        basket = basket.captioned({name: caption})
    return basket


def _folder(sources: list[str], store: Path, preset: str | None) -> Path:
    """Of one run its own folder, where its figures are looked for; else a folder here."""
    from mechbench.experiments.collected import run_of

    run = run_of(sources[0], store) if len(sources) == 1 else None
    return _FOLDER if run is None else run.figures / (preset or "column")


def _write_files(basket: "Basket", folder: Path, formats: list[str]) -> None:
    from mechbench.figures.export import export_figure

    for entry, figure in zip(basket.entries, basket.figures(), strict=True):
        for path in export_figure(figure, folder, formats, preset=entry.preset):
            _print_path(path)


def _print_path(path: Path) -> None:
    from mechbench.cli.console import stdout

    stdout.print(str(path), markup=False, soft_wrap=True)
