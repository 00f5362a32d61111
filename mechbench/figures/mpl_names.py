"""Names beside points, each placed where it covers the least of what is already drawn."""

from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from mechbench.figures.mpl_text import shortened, width_pt
from mechbench.figures.presets import POINTS_PER_INCH, Preset
from mechbench.figures.spec import Points

_AWAY = 3.0
_POINT = 2.0


def write_names(ax: Axes, panel: Points, preset: Preset, *, dpi: float) -> None:
    """Writes the labels of ``panel.named`` points; the axes must have their final size."""
    assert panel.labels is not None or not panel.named
    scale = POINTS_PER_INCH / dpi
    at = ax.transData.transform(np.column_stack([panel.x, panel.y])) * scale
    frame = Bbox(ax.get_window_extent().get_points() * scale)
    taken = [Bbox.from_bounds(x - _POINT, y - _POINT, 2 * _POINT, 2 * _POINT) for x, y in at]
    for index in panel.named:
        text = shortened((panel.labels or ())[index], 80.0, preset.token_pt)
        size = (width_pt(text, preset.token_pt), preset.token_pt)
        places = [_place(at[index], size, side) for side in _SIDES]
        costs = [_cost(box, taken, frame) for box in places]
        best = int(np.argmin(costs))
        taken.append(places[best])
        dx, dy = _SIDES[best]
        ax.annotate(
            text,
            (panel.x[index], panel.y[index]),
            xytext=(dx * _AWAY, dy * _AWAY),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[dx],
            va={1: "bottom", 0: "center", -1: "top"}[dy],
            fontsize=preset.token_pt,
            annotation_clip=False,
        )


_SIDES = sorted(
    (s for s in product((1, 0, -1), repeat=2) if s != (0, 0)), key=lambda s: (s[0] != 1, s)
)


def _place(point: np.ndarray, size: tuple[float, float], side: tuple[int, ...]) -> Bbox:
    """The box that a name of ``size`` takes on ``side`` of ``point``."""
    corner = [
        point[k]
        + side[k] * _AWAY
        - (size[k] if side[k] < 0 else size[k] / 2 if side[k] == 0 else 0)
        for k in (0, 1)
    ]
    return Bbox.from_bounds(corner[0], corner[1], *size)


def _cost(box: Bbox, taken: list[Bbox], frame: Bbox) -> float:
    """Area that ``box`` covers of what is drawn, and, weighing more, its area outside the frame."""
    covered = sum(_overlap(box, other) for other in taken)
    return covered + 4.0 * (box.width * box.height - _overlap(box, frame))


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)
