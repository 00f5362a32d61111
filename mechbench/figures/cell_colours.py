"""The colour of each cell of a heat map, for pages that draw the cells themselves."""

import numpy as np
from plotly.colors import sample_colorscale, unlabel_rgb

from mechbench.figures import palette
from mechbench.figures.limits import Range
from mechbench.figures.spec import Heatmap


def cell_colours(panel: Heatmap, limits: Range) -> list[list[str]]:
    """``#RRGGBB`` by row and column, as both renderers colour the panel between ``limits``."""
    low, high = limits
    finite = np.isfinite(panel.values)
    span = high - low or 1.0
    places = np.clip((np.where(finite, panel.values, low) - low) / span, 0.0, 1.0)
    sampled = sample_colorscale(palette.colour_map(panel.colour), places.ravel().tolist())
    colours = [_hex(str(text)) for text in sampled]
    return [
        [
            colours[row * finite.shape[1] + col] if finite[row, col] else palette.MISSING_FACE
            for col in range(finite.shape[1])
        ]
        for row in range(finite.shape[0])
    ]


def _hex(text: str) -> str:
    return "#" + "".join(f"{round(part):02X}" for part in unlabel_rgb(text))
