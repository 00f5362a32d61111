"""Panels that figures about multiple-choice questions share."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import shares
from mechbench.figures.spec import Heatmap
from mechbench.results.choices import ANSWERED, GOLD

DEFINITION = (
    "A prompt fails where the right option is not the first and the likeliest token of the whole "
    "vocabulary is the first label."
)


def confusion_panel(share: xr.DataArray, title: str, *, n: xr.DataArray | None = None) -> Heatmap:
    """A heat map of answers by right option, rows summing to 1; ``n`` (gold answered) is written.

    Options that no prompt has are left out.
    """
    share = share.transpose(GOLD, ANSWERED)
    asked = ~np.isnan(share.values).all(1)
    share = share.isel({GOLD: asked})
    rows = tuple(str(g) for g in share[GOLD].values)
    if n is None:
        text = tuple(tuple(f"{v:.2f}" for v in row) for row in share.values)
    else:
        counts = n.transpose(GOLD, ANSWERED).isel({GOLD: asked}).values
        text = tuple(tuple(str(int(v)) for v in row) for row in counts)
    return Heatmap(
        values=share.values,
        rows=rows,
        cols=tuple(str(a) for a in share[ANSWERED].values),
        title=title,
        x_title="answered",
        y_title="right option",
        value_title="share",
        colour=shares(),
        cell_text=text,
    )
