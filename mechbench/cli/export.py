"""``mechbench export``."""

from pathlib import Path
from typing import Annotated

import typer

from mechbench.cli.options import DEFAULT_STORE, RunName, Store


def export(
    run: RunName,
    format_: Annotated[
        str, typer.Option("--format", metavar="pdf,svg,png,html", help="Separated by commas.")
    ] = "pdf,svg",
    preset: Annotated[
        str, typer.Option(metavar="column|text", help="Width: one column (3.25 in) or the text.")
    ] = "column",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; by default RUN/figures/PRESET.")
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Draw the figures of a run again, as files for a paper."""
    from mechbench.cli.console import stdout
    from mechbench.experiments.saved import find_run, saved_figures
    from mechbench.figures.export import export_figure

    opened = find_run(run, store)
    folder = out or opened.figures / preset
    formats = [name.strip() for name in format_.split(",")]
    for figure in saved_figures(opened).values():
        for path in export_figure(figure, folder, formats=formats, preset=preset):
            stdout.print(str(path), markup=False, soft_wrap=True)
