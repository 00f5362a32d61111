"""How panels of one figure are shared out over rows."""

from mechbench.figures.graph import Graph
from mechbench.figures.labels import is_numeric
from mechbench.figures.limits import one_colour_bar
from mechbench.figures.mpl_text import drawable, width_pt
from mechbench.figures.presets import Preset
from mechbench.figures.spec import Bars, Boxes, FigureSpec, Heatmap, Panel, Table

Rows = list[list[int]]
GAP = 10.0
_AXIS = 45.0  # points, of the numbers and the title of an axis
_COLOUR_BAR = 58.0
_NARROWEST = 68.0
_CELL, _BAR = 7.5, 3.0
_LONGEST_LABEL = 60.0
_MOST = 4


def grid_rows(spec: FigureSpec, preset: Preset) -> Rows:
    """The panels in the spec's own grid, folded to as many columns as stay legible."""
    n_cols = min(spec.columns, len(spec.panels), _most_columns(spec, preset))
    indices = list(range(len(spec.panels)))
    return [indices[i : i + n_cols] for i in range(0, len(indices), n_cols)]


def packed_rows(spec: FigureSpec, preset: Preset) -> Rows:
    """The panels in their order, in each row as many as there is room for."""
    rows: Rows = [[]]
    left = preset.width_pt
    for i, panel in enumerate(spec.panels):
        needed = least_width(panel, preset) + GAP
        if rows[-1] and (needed > left + GAP or len(rows[-1]) == _MOST):
            rows.append([])
            left = preset.width_pt
        rows[-1].append(i)
        left -= needed
    return rows


def least_width(panel: Panel, preset: Preset) -> float:
    """The least width in points, labels included, at which ``panel`` is legible."""
    if isinstance(panel, Graph):
        return preset.width_pt
    if isinstance(panel, Table):
        columns = zip(panel.columns, *panel.rows, strict=True)
        widest = [max(width_pt(drawable(c), preset.tick_pt) for c in cells) for cells in columns]
        return min(sum(widest) + GAP * len(widest), preset.width_pt)
    if isinstance(panel, Heatmap):
        size = preset.tick_pt if is_numeric(panel.rows) else preset.token_pt
        labels = max((width_pt(drawable(t), size) for t in panel.rows), default=0.0)
        cells = max(_CELL * panel.values.shape[1], _NARROWEST)
        return min(labels, _LONGEST_LABEL) + 20.0 + cells + _COLOUR_BAR
    bars = len(panel.groups) * len(panel.series) if isinstance(panel, Bars | Boxes) else 0
    return _AXIS + max(_BAR * bars, _NARROWEST)


def _most_columns(spec: FigureSpec, preset: Preset) -> int:
    """How many columns of panels stay legible at this width; a wider grid is folded."""
    own_bars = not one_colour_bar(spec) and any(isinstance(p, Heatmap) for p in spec.panels)
    others = any(not isinstance(p, Heatmap) for p in spec.panels)
    least = 150.0 if own_bars else 110.0 if others else 72.0
    return max(1, int(preset.width_pt // least))
