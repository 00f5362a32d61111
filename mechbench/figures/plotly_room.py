"""How much room, in pixels, the labels around panels take when plotly draws them."""

from mechbench.figures.labels import is_numeric
from mechbench.figures.spec import Bars, Boxes, Heatmap, Lines, Panel, Table

CHARACTER = 7.0
_TITLE, _BAR = 30.0, 75.0
_MOST = 160.0  # a label may be longer than it is useful


def left_of(panel: Panel) -> float:
    """Left of the axes: tick labels and the title of the y axis, where it is not ""."""
    if isinstance(panel, Table):
        return 0.0
    if isinstance(panel, Heatmap) and not is_numeric(panel.rows):
        labels = min(max(map(len, panel.rows), default=1) * CHARACTER, _MOST) + 12.0
        return labels + (_TITLE if panel.y_title else 0.0)
    return 70.0


def below(panel: Panel, width: float) -> float:
    """Below axes that are ``width`` wide: tick labels, upright where they are long, and a title."""
    labels = _labels_below(panel)
    longest = max(map(len, labels), default=0) * CHARACTER
    if longest > width / max(len(labels), 1):
        return min(longest, _MOST) + 12.0 + _TITLE
    return 60.0


def right_of(panel: Panel, *, own_bar: bool) -> float:
    """Right of the axes: a colour bar."""
    return _BAR if isinstance(panel, Heatmap) and own_bar else 5.0


def _labels_below(panel: Panel) -> tuple[str, ...]:
    """The texts at the ticks of the x axis, where they are no numbers."""
    if isinstance(panel, Heatmap):
        return () if is_numeric(panel.cols) else panel.cols
    if isinstance(panel, Bars | Boxes):
        return panel.groups
    return panel.x_labels or () if isinstance(panel, Lines) else ()
