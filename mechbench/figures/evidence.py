"""What a caption must say about a result, and parts that figures of results share."""

from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from mechbench.figures.spec import Bars, Heatmap, Sequential, Series
from mechbench.results.base import Result
from mechbench.shapes import ANSWER, HEAD, LAYER

INTERVAL = "95 % bootstrap intervals over prompts"
ESTIMATE = "estimate"


def evidence(result: Result, *, interval: str | None = INTERVAL) -> str:
    """Model, weights, task, n and interval of a result, as the last sentences of a caption."""
    p = result.provenance
    processing = "" if p.processing == "none" else f", weights processed by {p.processing}"
    seed = "" if p.task_seed is None else f" (seed {p.task_seed})"
    weights = p.model_revision[:12]
    about = f"Model {p.model} ({weights}{processing}), {p.n_prompts} prompts of {p.task}{seed}"
    return f"{about}; {interval}." if interval else f"{about}."


def provenance_of(result: Result) -> dict[str, Any]:
    """The provenance of a result, for the metadata of a figure's file."""
    return asdict(result.provenance)


def mean_of(values: xr.DataArray) -> xr.DataArray:
    return values.sel({ESTIMATE: "mean"}, drop=True)


def series(values: xr.DataArray, label: str, *, dashed: bool = False) -> Series:
    """A series from an estimate with one further axis, with its interval."""
    mean, low, high = (values.sel({ESTIMATE: e}).values for e in ("mean", "low", "high"))
    return Series(label=label, values=mean, low=low, high=high, dashed=dashed)


def layer_by_head(values: xr.DataArray, title: str, value_title: str, **options: Any) -> Heatmap:
    """A heat map of ``values`` (layer head), layer 0 at the bottom."""
    values = values.transpose(LAYER, HEAD)
    return Heatmap(
        values=values.values,
        rows=tuple(str(i) for i in values[LAYER].values),
        cols=tuple(str(i) for i in values[HEAD].values),
        title=title,
        x_title="head",
        y_title="layer",
        value_title=value_title,
        first_row="bottom",
        **options,
    )


def words_by_condition(values: xr.DataArray, title: str) -> Bars:
    """Bars of attention (estimate condition answer word): groups are letter and word."""
    flat = values.stack(pair=(ANSWER, "word")).transpose(ESTIMATE, "condition", "pair")
    groups = tuple(f"{a.removeprefix('letter ')}→{w}" for a, w in flat["pair"].values)
    return Bars(
        groups=groups,
        series=tuple(
            series(flat.sel(condition=c, drop=True), str(c)) for c in flat["condition"].values
        ),
        title=title,
        x_title="predicted letter → attended word",
        y_title="attention",
    )


def letter_block(values: xr.DataArray, title: str) -> Heatmap:
    """A heat map of a 26 x 26 block, the largest entry of each row outlined."""
    block = values.transpose("letter_from", "letter_to")
    best = np.argmax(block.values, axis=1)
    return Heatmap(
        values=block.values,
        rows=tuple(block["letter_from"].values),
        cols=tuple(block["letter_to"].values),
        title=title,
        x_title="logit of letter",
        y_title="attended letter",
        value_title="logits, undivided",
        marked=tuple((row, int(col)) for row, col in enumerate(best)),
    )


def shares(low: float = 0.0, high: float = 1.0) -> Sequential:
    return Sequential(low=low, high=high)
