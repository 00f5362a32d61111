"""Figures as files for papers and for the web, the same bytes each time.

Beside the formats asked for stand ``<name>.figure.json``, from which the figure can be drawn
again, and ``<name>.csv`` with its numbers.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from mechbench.errors import MechbenchError, did_you_mean
from mechbench.figures.presets import find_preset
from mechbench.figures.spec import FigureSpec
from mechbench.figures.tidy import to_csv
from mechbench.results.codec import encode
from mechbench.results.files import make_folder, write_atomically

PlotlyJs = Literal["inline", "directory"]
FORMATS = ("pdf", "svg", "png", "html")
PLOTLY_FILE = "plotly.min.js"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: "DejaVu Sans", Verdana, sans-serif; margin: 1.5rem auto; max-width: 70rem; }}
p, pre {{ margin: 0.8rem 1rem; line-height: 1.45; }}
details {{ margin: 0.8rem 1rem; color: #555; font-size: 0.85rem; }}
</style>
</head>
<body>
{figure}
<p>{caption}</p>
<details><summary>Where this figure comes from</summary><pre>{provenance}</pre></details>
</body>
</html>
"""


def export_figure(
    spec: FigureSpec,
    folder: Path | str,
    formats: Sequence[str] = FORMATS,
    *,
    preset: str = "column",
    plotly_js: PlotlyJs = "inline",
) -> list[Path]:
    """The files written to ``folder``: one for each format, then the figure's JSON and CSV.

    ``plotly_js="inline"`` makes an HTML file that stands alone (5 MB); ``"directory"`` writes
    plotly's script once beside the HTML files, which then take a few kB each.

    Raises
        MechbenchError for an unknown format or preset, before anything is drawn;
        StoreError where ``folder`` cannot be written.
    """
    find_preset(preset)
    check_formats(formats)
    folder = make_folder(Path(folder))
    files = figure_files(spec, formats, preset=preset, plotly_js=plotly_js)
    if "html" in formats and plotly_js == "directory":
        _write_plotly(folder)
    return files.written(folder)


@dataclass(frozen=True, kw_only=True)
class FigureFiles:
    """The files of the figure ``name`` by suffix, and the width in inches of those for papers."""

    name: str
    contents: dict[str, bytes]
    preset: str
    width_in: float

    @property
    def note(self) -> str:
        """A sentence where the figure is not as wide as its preset; else ""."""
        wanted = find_preset(self.preset).width_in
        if self.width_in == wanted:
            return ""
        return (
            f"{self.name} is {self.width_in:g} in wide and not {wanted:g} in ({self.preset}), "
            "because it would be higher than a page."
        )

    def written(self, folder: Path) -> list[Path]:
        """The paths of the files after they were written into ``folder``.

        Raises
            StoreError where it cannot be written.
        """
        return [
            write_atomically(folder / f"{self.name}.{suffix}", content)
            for suffix, content in self.contents.items()
        ]


def figure_files(
    spec: FigureSpec,
    formats: Sequence[str] = FORMATS,
    *,
    preset: str = "column",
    plotly_js: PlotlyJs = "inline",
) -> FigureFiles:
    """What :func:`export_figure` writes, without writing it.

    Raises
        MechbenchError for an unknown format or preset, before anything is drawn.
    """
    find_preset(preset)
    check_formats(formats)
    papers = [f for f in dict.fromkeys(formats) if f != "html"]
    contents, width_in = _paper_files(spec, papers, preset)
    texts = {"figure.json": spec.to_json(), "csv": to_csv(spec)}
    if "html" in formats:
        texts = {"html": to_html(spec, plotly_js=plotly_js)} | texts
    contents |= {suffix: text.encode("utf-8") for suffix, text in texts.items()}
    return FigureFiles(name=spec.name, contents=contents, preset=preset, width_in=width_in)


def check_formats(formats: Sequence[str]) -> None:
    """Nothing, where every format is known.

    Raises
        MechbenchError for an unknown one, naming those there are.
    """
    for name in formats:
        if name not in FORMATS:
            raise MechbenchError(
                f"Unknown figure format {name!r}. {did_you_mean(name, FORMATS)} "
                f"Formats: {', '.join(FORMATS)}."
            )


def to_html(spec: FigureSpec, *, plotly_js: PlotlyJs = "inline") -> str:
    """An HTML page with the interactive figure, its caption and its provenance."""
    from mechbench.figures.render_plotly import to_plotly

    figure = to_plotly(spec).to_html(
        full_html=False,
        include_plotlyjs=True if plotly_js == "inline" else "directory",
        include_mathjax=False,
        div_id=f"figure-{spec.name}",
        config={"responsive": True, "displaylogo": False},
    )
    return _PAGE.format(
        title=escape(spec.title or spec.name),
        figure=figure,
        caption=escape(spec.caption),
        provenance=escape(_provenance_text(spec, indent=1)),
    )


def paper_bytes(spec: FigureSpec, format: str, *, preset: str = "column") -> bytes:
    """The content of a PDF, SVG or PNG file of ``spec``.

    Raises
        MechbenchError for an unknown preset.
    """
    return _paper_files(spec, [format], preset)[0][format]


def _paper_files(
    spec: FigureSpec, formats: list[str], preset: str
) -> tuple[dict[str, bytes], float]:
    """File contents by format, all from one drawing, and its width in inches."""
    if not formats:
        return {}, find_preset(preset).width_in
    from mechbench.figures.render_mpl import rendering, to_mpl

    files = {}
    with rendering():
        figure = to_mpl(spec, preset)
        for name in formats:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=name, metadata=_METADATA[name](spec))
            files[name] = buffer.getvalue()
    return files, float(figure.get_figwidth())


def _provenance_text(spec: FigureSpec, indent: int | None = None) -> str:
    return json.dumps(encode(spec.provenance), indent=indent, ensure_ascii=False, sort_keys=True)


def _pdf_metadata(spec: FigureSpec) -> dict[str, Any]:
    return {
        "Title": spec.title or spec.name,
        "Subject": spec.caption,
        "Keywords": _provenance_text(spec),
        "Creator": "mechbench",
        "CreationDate": None,  # the same figure is the same bytes
    }


def _svg_metadata(spec: FigureSpec) -> dict[str, Any]:
    return {
        "Title": spec.title or spec.name,
        "Description": spec.caption,
        "Keywords": _provenance_text(spec),
        "Creator": "mechbench",
        "Date": None,
    }


def _png_metadata(spec: FigureSpec) -> dict[str, Any]:
    return {
        "Title": spec.title or spec.name,
        "Description": spec.caption,
        "Comment": _provenance_text(spec),
        "Software": "mechbench",
    }


_METADATA: dict[str, Callable[[FigureSpec], dict[str, Any]]] = {
    "pdf": _pdf_metadata,
    "svg": _svg_metadata,
    "png": _png_metadata,
}


def plotly_script() -> str:
    """The script that pages share which do not hold it themselves (``PLOTLY_FILE``)."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _write_plotly(folder: Path) -> None:
    script = plotly_script()
    path = folder / PLOTLY_FILE
    if not path.exists() or path.stat().st_size != len(script.encode("utf-8")):
        write_atomically(path, script)
