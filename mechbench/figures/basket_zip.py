"""A basket as one ZIP file for a paper, the same bytes each time.

README.txt                  what is where, and what is not as it was asked for
figures.tex                 all figures with captions and labels, to \\input
provenance.json             where each figure comes from, and the hash of each file
basket.json                 the basket, to change and to export again
figures/NAME.pdf svg html   each figure drawn
figures/NAME.csv            its numbers
figures/NAME.figure.json    what it is drawn from
figures/plotly.min.js       the script that the pages share
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mechbench.errors import MechbenchError
from mechbench.figures.basket import Basket, Entry
from mechbench.figures.export import PLOTLY_FILE, check_formats, figure_files, plotly_script
from mechbench.figures.latex import figures_tex
from mechbench.figures.spec import FigureSpec
from mechbench.results.codec import encode
from mechbench.results.files import write_atomically

ZIP_FORMATS = ("pdf", "svg", "html")
FOLDER = "figures"
_WHEN = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: the same figures are the same bytes
_SCHEMA = 1

Progress = Callable[[int, int], None]


def write_zip(
    basket: Basket,
    path: Path | str,
    formats: Sequence[str] = ZIP_FORMATS,
    *,
    progress: Progress | None = None,
) -> Path:
    """``path`` after it holds the ZIP file of :func:`zip_bytes`.

    Raises
        MechbenchError for an empty basket or an unknown format, before anything is drawn;
        StoreError where it cannot be written.
    """
    return write_atomically(Path(path), zip_bytes(basket, formats, progress=progress))


def zip_bytes(
    basket: Basket, formats: Sequence[str] = ZIP_FORMATS, *, progress: Progress | None = None
) -> bytes:
    """The content of a ZIP file of all figures, laid out as this module says.

    ``progress(done, total)`` is called before the first figure and after each; what it raises
    stops the work.

    Raises
        MechbenchError for an empty basket or an unknown format, before anything is drawn.
    """
    if not basket.entries:
        raise MechbenchError("The basket is empty: add a figure to it before it is exported.")
    check_formats(formats)
    progress = progress or (lambda done, total: None)
    total = len(basket.entries)
    progress(0, total)
    figures = basket.figures()
    files: dict[str, bytes] = {}
    records, widths, notes = [], [], []
    for entry, figure in zip(basket.entries, figures, strict=True):
        drawn = figure_files(figure, formats, preset=entry.preset, plotly_js="directory")
        named = {f"{FOLDER}/{figure.name}.{s}": data for s, data in drawn.contents.items()}
        files |= named
        widths.append(drawn.width_in)
        notes += [drawn.note] if drawn.note else []
        records.append(
            _record(entry, figure, named) | {"width_in": drawn.width_in, "note": drawn.note}
        )
        progress(len(records), total)
    if "html" in formats:
        files[f"{FOLDER}/{PLOTLY_FILE}"] = plotly_script().encode("utf-8")
    texts = {
        "README.txt": _readme(figures, formats, notes),
        "figures.tex": figures_tex(list(zip(figures, widths, strict=True)), FOLDER),
        "provenance.json": _json({"schema": _SCHEMA, "figures": records}),
        "basket.json": basket.to_json(),
    }
    if "pdf" not in formats:
        del texts["figures.tex"]
    return _zipped({name: text.encode("utf-8") for name, text in texts.items()} | files)


def _record(entry: Entry, figure: FigureSpec, files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "own_caption": entry.figure.caption,
        "keeps": entry.keeps,
        "preset": entry.preset,
        "source": entry.source,
        "provenance": encode(figure.provenance),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }


def _readme(figures: Sequence[FigureSpec], formats: Sequence[str], notes: Sequence[str]) -> str:
    names = "\n".join(f"  {number}. {f.name}: {f.title}" for number, f in enumerate(figures, 1))
    kinds = ", ".join((*dict.fromkeys(formats), "csv", "figure.json"))
    lines = [
        f"Figures in this order, each as {kinds} in {FOLDER}/:",
        names,
        "",
        "figures.tex (with PDF files) includes them with captions and labels.",
        "provenance.json says where each comes from and has the hash of each file.",
        "To draw them again, or others: mechbench export basket.json --zip figures.zip",
    ]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _WHEN)
            info.create_system = 3  # Unix, on whatever machine this runs
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()
