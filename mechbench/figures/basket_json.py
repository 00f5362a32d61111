"""Baskets as JSON text, read strictly: unknown keys and wrong types are named, nothing is guessed.

{"schema": 1, "basket": [
  {"figure": {...content of a figure.json...}, "caption": null, "keeps": "all",
   "preset": "column", "source": ""},
  {"file": "runs/my-run/figures/heads.figure.json", "preset": "text"}
]}
"""

import json
from pathlib import Path
from typing import Any

from mechbench.errors import MechbenchError, StoreError
from mechbench.figures.basket import Basket, Entry
from mechbench.figures.spec import FigureSpec
from mechbench.results.files import read_text

_SCHEMA = 1
_OPTIONAL = {
    "caption": (str, type(None)),
    "keeps": (str,),
    "preset": (str,),
    "source": (str,),
}
_KEYS = ("figure", "file", *_OPTIONAL)


def basket_to_json(basket: Basket) -> str:
    """``basket`` as JSON text, one line for each figure."""
    lines = [
        json.dumps(
            {
                "caption": entry.caption,
                "keeps": entry.keeps,
                "preset": entry.preset,
                "source": entry.source,
                "figure": json.loads(entry.figure.to_json()),
            },
            ensure_ascii=False,
            allow_nan=False,
        )
        for entry in basket.entries
    ]
    return f'{{"schema": {_SCHEMA}, "basket": [\n' + ",\n".join(lines) + "\n]}\n"


def basket_from_json(text: str, folder: Path | None) -> Basket:
    """The basket in ``text``; files that it names are looked for below ``folder``.

    Raises
        StoreError where the text is damaged, has unknown parts, or is newer than this mechbench.
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"it is not JSON, {error}") from error
    if not isinstance(stored, dict) or set(stored) != {"schema", "basket"}:
        raise _unreadable("it should be an object with the keys 'schema' and 'basket'")
    schema, listed = stored["schema"], stored["basket"]
    if type(schema) is not int or not isinstance(listed, list):
        raise _unreadable("'schema' should be a number and 'basket' a list")
    if schema > _SCHEMA:
        raise StoreError(
            f"This basket has format {schema}, newer than the format {_SCHEMA} that this "
            "mechbench reads: update mechbench."
        )
    return Basket(tuple(_entry(data, place, folder) for place, data in enumerate(listed, 1)))


def _entry(data: Any, place: int, folder: Path | None) -> Entry:
    where = f"figure {place}"
    if not isinstance(data, dict):
        raise _unreadable(f"{where} should be an object")
    unknown = sorted(set(data) - set(_KEYS))
    if unknown:
        raise _unreadable(f"{where} has the unknown key {unknown[0]!r}; known: {', '.join(_KEYS)}")
    if ("figure" in data) == ("file" in data):
        raise _unreadable(f"{where} should have either 'figure' or 'file'")
    options = {key: data[key] for key in _OPTIONAL if key in data}
    for key, value in options.items():
        if not isinstance(value, _OPTIONAL[key]):
            raise _unreadable(f"{key!r} of {where} should be text, not {value!r}")
    try:
        if "file" in data:
            figure = _from_file(data["file"], folder)
            options.setdefault("source", str(data["file"]))
        else:
            figure = FigureSpec.from_json(json.dumps(data["figure"]))
        return Entry(figure=figure, **options)
    except MechbenchError as error:
        raise _unreadable(f"{where}: {error}") from error


def _from_file(name: Any, folder: Path | None) -> FigureSpec:
    if not isinstance(name, str):
        raise StoreError(f"'file' should be text, not {name!r}.")
    if folder is None:
        raise StoreError(f"It names the file {name!r}, but this basket may only hold figures.")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise StoreError(f"The file {name!r} is outside the basket's folder: give one inside it.")
    return FigureSpec.from_json(read_text(path, "figure"))


def _unreadable(reason: str) -> StoreError:
    return StoreError(f"The basket cannot be read: {reason.removesuffix('.')}.")
