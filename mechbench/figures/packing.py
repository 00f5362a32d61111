"""How the panels of one figure are shared out over rows, and how large each should be."""

from dataclasses import dataclass

from matplotlib.gridspec import GridSpec, SubplotSpec

from mechbench.figures.graph import Graph
from mechbench.figures.labels import is_numeric
from mechbench.figures.limits import one_colour_bar
from mechbench.figures.mpl_text import drawable, width_pt
from mechbench.figures.presets import Preset
from mechbench.figures.spec import Bars, Boxes, FigureSpec, Heatmap, Panel, Points, Table

Rows = list[list[int]]
GAP = 10.0
_AXIS = 45.0  # points, of the numbers and the title of an axis
_COLOUR_BAR = 58.0
_NARROWEST = 68.0
_CELL, _BAR = 7.5, 3.0
_LONGEST_LABEL = 60.0
_MOST = 4
_TABLE_LINE = 11.0


@dataclass(frozen=True)
class Arrangement:
    """Rows of indices of panels, in a figure of ``width_pt``.

    The rows of a grid are equally long, but for a shorter last one, and their columns are aligned;
    else each row has columns of its own, in proportion to ``needed``, the panels' least widths.
    A table ``at_the_end`` of a grid has a row of its own, as wide as the figure.
    """

    rows: Rows
    is_grid: bool
    needed: list[float]
    width_pt: float
    at_the_end: int | None = None

    def row_of(self, panel: int) -> int:
        """The number of the row that holds ``panel``."""
        return next(r for r, row in enumerate(self.rows) if panel in row)

    def widths(self) -> list[float]:
        """The width in points of each panel, labels included."""
        widths: list[float] = []
        for row in self.rows:
            n_cols = len(self.rows[0]) if self.is_grid else len(row)
            room = self.width_pt - GAP * (n_cols - 1)
            if self.is_grid:
                wide = {self.at_the_end: self.width_pt}
                widths += [wide.get(i, room / n_cols) for i in row]
            else:
                total = sum(self.needed[i] for i in row)
                widths += [room * self.needed[i] / total for i in row]
        return widths

    def cells(self, grid: GridSpec) -> list[SubplotSpec]:
        """Where each panel stands in ``grid``, which has one column unless this is a grid."""
        if self.is_grid:
            return [
                grid[r, :] if i == self.at_the_end else grid[r, c]
                for r, row in enumerate(self.rows)
                for c, i in enumerate(row)
            ]
        widths = self.widths()
        cells: list[SubplotSpec] = []
        for r, row in enumerate(self.rows):
            columns = grid[r, 0].subgridspec(1, len(row), width_ratios=[widths[i] for i in row])
            cells += [columns[0, c] for c in range(len(row))]
        return cells


def in_grid(spec: FigureSpec, preset: Preset) -> Arrangement:
    """The panels in the spec's own grid, folded to as many columns as stay legible."""
    n_cols = min(spec.columns, len(spec.panels), _most_columns(spec, preset))
    last = len(spec.panels) - 1
    apart = last if n_cols > 1 and isinstance(spec.panels[last], Table) else None
    indices = list(range(len(spec.panels) if apart is None else last))
    rows = [indices[i : i + n_cols] for i in range(0, len(indices), n_cols)]
    rows += [] if apart is None else [[apart]]
    return Arrangement(rows, True, _least_widths(spec, preset), preset.width_pt, apart)


def packed(spec: FigureSpec, preset: Preset) -> Arrangement:
    """The panels in their order, in each row as many as there is room for."""
    needed = _least_widths(spec, preset)
    rows: Rows = [[]]
    left = preset.width_pt
    for i, width in enumerate(needed):
        if rows[-1] and (width > left or len(rows[-1]) == _MOST):
            rows.append([])
            left = preset.width_pt
        rows[-1].append(i)
        left -= width + GAP
    return Arrangement(rows, False, needed, preset.width_pt)


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


def panel_height(panel: Panel, width: float, squeeze: float) -> float:
    """The height in points that suits ``panel`` when its axes are ``width`` points wide.

    Rows of cells and of text never get too low to be read, whatever ``squeeze`` says.
    """
    if isinstance(panel, Heatmap):
        n_rows, n_cols = panel.values.shape
        least = 9.5 if panel.cell_text is not None else 7.5
        cell = max(min(width / max(n_cols, 1), 14.0) * squeeze, least)
        return min(max(cell * n_rows, 36.0), 380.0)
    if isinstance(panel, Table):
        return _TABLE_LINE * (len(panel.rows) + 1)
    if isinstance(panel, Points):
        return squeeze * min(max(0.85 * width, 90.0), 220.0)
    return squeeze * min(max(0.6 * width, 85.0), 170.0)


def _most_columns(spec: FigureSpec, preset: Preset) -> int:
    """How many columns of panels stay legible at this width; a wider grid is folded."""
    own_bars = not one_colour_bar(spec) and any(isinstance(p, Heatmap) for p in spec.panels)
    others = any(not isinstance(p, Heatmap) for p in spec.panels)
    least = 150.0 if own_bars else 110.0 if others else 72.0
    return max(1, int(preset.width_pt // least))


def _least_widths(spec: FigureSpec, preset: Preset) -> list[float]:
    return [least_width(panel, preset) for panel in spec.panels]
