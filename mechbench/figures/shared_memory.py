"""The memory that layers share: effects by position and reader, and loss without it."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Heatmap
from mechbench.results.shared_memory import (
    BOTH,
    FIRST,
    PART,
    PARTS,
    READER,
    REPEATED,
    SPLIT,
    K,
    SharedMemory,
    V,
)
from mechbench.shapes import POSITION

_NAMED = {K: "keys", V: "values", BOTH: "keys and values"}


def shared_memory_figure(result: SharedMemory, *, control: bool = False) -> FigureSpec:
    """Heat maps of the effects (or of the ``control``'s), and bars of the rise in loss."""
    shown = mean_of(result.control if control else result.effect)
    panels = [_by_position(shown.sel({PART: part}), part) for part in PARTS]
    return FigureSpec(
        name="shared-memory",
        title="What the shared memory carries",
        caption=_caption(result, control),
        panels=(*panels, _rise(result)),
        columns=1,
        provenance=provenance_of(result),
    )


def _by_position(values: xr.DataArray, part: str) -> Heatmap:
    values = values.transpose(READER, POSITION)
    return Heatmap(
        values=values.values,
        rows=tuple(values[READER].values),
        cols=tuple(values[POSITION].values),
        title=f"replaced at one position: {_NAMED[part]}",
        x_title="position of the memory",
        y_title="seen by",
        value_title="change of the metric",
    )


def _rise(result: SharedMemory) -> Bars:
    flat = result.rise.stack(cell=(PART, READER)).transpose("estimate", SPLIT, "cell")
    groups = tuple(f"{part}, {reader}" for part, reader in flat["cell"].values)
    return Bars(
        groups=groups,
        series=tuple(
            series(flat.sel({SPLIT: split}, drop=True), str(split))
            for split in flat[SPLIT].values
            if np.isfinite(flat.sel({SPLIT: split})).all()
        ),
        title="loss with the memory ablated, minus intact",
        x_title="ablated, for whom",
        y_title="nats per token",
    )


def _caption(result: SharedMemory, control: bool) -> str:
    replaced = {
        "corrupt": "that of the corrupted run",
        "mean": "its mean over the clean prompts",
    }[result.source]
    shown = "a random direction of the same length" if control else replaced
    loss = mean_of(result.loss)
    n = {split: int(result.count.sel({SPLIT: split})) for split in (FIRST, REPEATED)}
    intact = {split: f"intact {float(loss.sel({SPLIT: split})):.2f} nats, " for split in n}
    about = {split: f"{intact[split] if n[split] else ''}{n[split]} tokens" for split in n}
    return (
        f"Maps: shared keys, values or both of one position replaced by {shown}, for all layers "
        f"that read them or for one; {result.metric_name} with minus without, negative is damage. "
        "A random direction of the same length changes it by at most "
        f"{float(abs(mean_of(result.control)).max()):.2f}. Bars: rise of the next-token loss where "
        "the memory is its mean over prompts at all positions, for tokens that complete an n-gram "
        f"of {result.order} tokens seen before in the prompt ({about[REPEATED]}) and for "
        f"the others ({about[FIRST]}). " + evidence(result)
    )
