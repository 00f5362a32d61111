"""Published numbers about anchored answers, and whose they are."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mechbench.analyses.common.published import PublishedCircuit, same_model
from mechbench.errors import SpecError
from mechbench.resources import bundled
from mechbench.results.compare_choices import COLUMN, ROW

_FILE = bundled("circuits") / "mcq_gpt2" / "published.json"


@dataclass(frozen=True)
class PublishedRow:
    """One number for each model that it is reported for.

    Attributes:
        measure: what to measure here: "anchored", "update" or "swap".
        set_name: the set of prompts, by the names of our tasks.
    """

    what: str
    measure: str
    set_name: str
    tag: str
    values: dict[str, float]

    @property
    def label(self) -> str:
        return f"{self.what}, {self.set_name}"


@dataclass(frozen=True)
class PublishedChoices:
    """``published.json`` of a folder, with the column that is about one model."""

    data: dict[str, Any]
    rows: tuple[PublishedRow, ...]
    column: str
    comparable: bool
    statement: str

    @property
    def models(self) -> list[str]:
        return [model["display"] for model in self.data["models"]]

    @property
    def edited(self) -> str | None:
        """The value vector that is reported as edited in this model."""
        return self.data["edited_vector"]["values"].get(self.column)

    @property
    def source(self) -> str:
        paper = self.data["paper"]
        return f"{paper['authors']}: {paper['title']}. {paper['where']}, arXiv {paper['arxiv']}."

    def table(self) -> xr.DataArray:
        """Every reported number, axes (row column); NaN where nothing is reported."""
        values = [[row.values.get(model, np.nan) for model in self.models] for row in self.rows]
        return xr.DataArray(
            np.array(values),
            coords={ROW: [row.label for row in self.rows], COLUMN: self.models},
            dims=(ROW, COLUMN),
            attrs={"units": "share", "long_name": "published"},
        )


def read_published_choices(model, path: Path | None = None) -> PublishedChoices:
    """The published numbers, and the column of ``model`` where they are about it.

    Of a model of other sizes the column is the first one, and nothing is comparable.

    Raises:
        SpecError: the file cannot be read, or lacks something.
    """
    path = _FILE if path is None else Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(
            PublishedRow(r["what"], r["measure"], r["set"], r["tag"], r["values"])
            for r in data["rows"]
        )
        models = data["models"]
        sizes = ("n_layers", "n_heads", "d_model", "d_vocab")
        fitting = [m for m in models if all(getattr(model.cfg, s) == m[s] for s in sizes)]
        entry = fitting[0] if fitting else models[0]
        comparable, statement = same_model(model, PublishedCircuit({"model": entry}, {}))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SpecError(
            f"The published numbers in {path.name!r} cannot be read ({error!r}). Give a file of "
            "the form of circuits/mcq_gpt2/published.json."
        ) from error
    return PublishedChoices(data, rows, entry["display"], comparable, statement)
