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
        "baskets (FILE: all figures; FILE:NAME: one).",
    ),
]
Captions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=TEXT", help="A caption for one figure; TEXT alone if there is but one."
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]all|evidence|nothing",
        help="What of the figure's own caption follows a --caption: all (as by default), the "
        "evidence (model, n and interval), or nothing.",
    ),
]
Presets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]column|text",
        help="Width, of all figures or of one: one column (3.25 in) or the text (6.75 in); by "
        "default column, or what the basket says.",
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
    preset: Presets = None,
    caption: Captions = None,
    keep: Keep = None,
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

    chosen = _with_options(collect(sources, store), preset or [], caption or [], keep or [])
    formats = None if format_ is None else [name.strip() for name in format_.split(",")]
    if basket is not None:
        _print_path(chosen.save(basket))
    if zip_ is not None:
        _print_path(write_zip(chosen, zip_, formats or ZIP_FORMATS))
    if out is not None or (zip_ is None and basket is None):
        folder = out or _folder(sources, store, chosen)
        _write_files(chosen, folder, formats or ["pdf", "svg"])


def _with_options(
    basket: "Basket", presets: list[str], captions: list[str], keeps: list[str]
) -> "Basket":
    from mechbench.figures.captions import check_keeps

    for text in presets:
        places, preset = _places(basket, text)
        for place in places:
            basket = basket.with_preset(place, preset)
    names = [figure.name for figure in basket.figures()]
    for text in captions:
        name, equals, caption = text.partition("=")
        if len(names) == 1 and not (equals and name in names):
            name, caption = names[0], text
        basket = basket.with_caption(basket.place_of(name), caption)
    for text in keeps:
        places, part = _places(basket, text)
        for place in places:
            basket = basket.keeping(place, check_keeps(part))
    return basket


def _places(basket: "Basket", text: str) -> tuple[list[int], str]:
    """The places that "NAME=VALUE" or "VALUE" speaks of, and the value."""
    name, equals, value = text.partition("=")
    if equals:
        return [basket.place_of(name)], value
    return list(range(len(basket.entries))), text


def _folder(sources: list[str], store: Path, basket: "Basket") -> Path:
    """Of one run its own folder, where its figures are looked for; else a folder here."""
    from mechbench.experiments.collected import run_of

    run = run_of(sources[0], store) if len(sources) == 1 else None
    presets = {entry.preset for entry in basket.entries}
    return _FOLDER if run is None else run.figures / "-".join(sorted(presets))


def _write_files(basket: "Basket", folder: Path, formats: list[str]) -> None:
    from mechbench.cli.console import say
    from mechbench.figures.export import figure_files

    for entry, figure in zip(basket.entries, basket.figures(), strict=True):
        files = figure_files(figure, formats, preset=entry.preset)
        for path in files.written(folder):
            _print_path(path)
        if files.note:
            say(files.note)


def _print_path(path: Path) -> None:
    from mechbench.cli.console import stdout

    stdout.print(str(path), markup=False, soft_wrap=True)
