"""Figure specs drawn by matplotlib, for papers: vector cells, embedded fonts, exact sizes.

Rendering holds one lock, for matplotlib's settings are global to the process, and never touches
pyplot. The layout is worked out in passes: draw, measure, then thin the labels to the room there
is and set the height so that each panel has the size it should have.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mechbench.figures import mpl_graph
from mechbench.figures import mpl_panels as draw
from mechbench.figures.graph import Graph
from mechbench.figures.graph_layout import Layout
from mechbench.figures.labels import is_numeric, thinned
from mechbench.figures.limits import colour_limits, one_colour_bar
from mechbench.figures.mpl_names import write_names
from mechbench.figures.mpl_text import FONT, shortened, width_pt, wrapped
from mechbench.figures.packing import Arrangement, in_grid, packed, panel_height
from mechbench.figures.presets import POINTS_PER_INCH, Preset, find_preset
from mechbench.figures.spec import (
    Bars,
    Boxes,
    FigureSpec,
    Heatmap,
    Histogram,
    Lines,
    Panel,
    Points,
    Table,
)

DPI = 300
_LOCK = threading.RLock()
_LINE = 1.3  # line height as a multiple of the font size
_ROW_PADS = 8.0
_LOWER, _LOWEST = 0.7, 0.5  # of panels' usual height, where a figure does not fit on a page
_STYLE = {
    "font.family": [FONT],
    "axes.unicode_minus": True,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "axes.labelpad": 2.5,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,
    "text.hinting": "no_hinting",  # else the width of a text depends on the resolution
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "mechbench",
}


@contextmanager
def rendering() -> Iterator[None]:
    """Exclusive use of matplotlib with our settings, whatever the user's own settings are."""
    with _LOCK, matplotlib.style.context(["default", _STYLE]):
        yield


def to_mpl(spec: FigureSpec, preset: str = "column") -> Figure:
    """``spec`` as a matplotlib figure of the width of ``preset``. Save it under ``rendering()``.

    A figure higher than a page gets lower panels, and more of them in a row as far as they stay
    legible; where that is not enough, but the width of the next wider preset is, it gets that.

    Raises
        MechbenchError for an unknown preset.
    """
    size = find_preset(preset)
    with rendering():
        return _fitted(spec, size)


def _fitted(spec: FigureSpec, preset: Preset) -> Figure:
    """The first layout that is no higher than a page, or else the lowest of this width."""
    figures = [_Drawing(spec, preset, in_grid(spec, preset)).finished()]
    most = preset.most_height_in
    for places, squeeze in _denser(spec, preset, figures[0].get_figheight()):
        if figures[-1].get_figheight() > most:
            figures.append(_Drawing(spec, preset, places, squeeze).finished())
    lowest = min(figures, key=Figure.get_figheight)
    if lowest.get_figheight() <= most or preset.wider is None:
        return lowest
    wider = _fitted(spec, find_preset(preset.wider))
    return wider if wider.get_figheight() <= most else lowest


def _denser(spec: FigureSpec, preset: Preset, height_in: float) -> list[tuple[Arrangement, float]]:
    """Layouts that may bring a figure onto a page that is ``height_in`` as it is, best first."""
    most = preset.most_height_in
    if preset.wider is not None and height_in > 2 * most:
        return []
    layouts = [(in_grid(spec, preset), _LOWER)] if height_in * _LOWER <= most else []
    if not one_colour_bar(spec):
        squeezes = (_LOWER,) if preset.wider else (_LOWER, _LOWEST)
        layouts += [(packed(spec, preset), squeeze) for squeeze in squeezes]
    return layouts


class _Drawing:
    """One figure on its way through the passes; ``squeeze`` makes panels lower than usual."""

    def __init__(
        self, spec: FigureSpec, preset: Preset, places: Arrangement, squeeze: float = 1.0
    ) -> None:
        self.spec, self.preset, self.places, self.squeeze = spec, preset, places, squeeze
        self.rows, self.widths = places.rows, places.widths()
        self.layouts: dict[int, Layout] = {
            i: mpl_graph.plan(panel, self.widths[i], preset)
            for i, panel in enumerate(spec.panels)
            if isinstance(panel, Graph)
        }
        self.heights = self._row_heights([0.75 * width for width in self.widths])
        n_rows, n_cols = len(self.rows), max(map(len, self.rows))
        around = 110 if places.is_grid else 150
        self.figure = Figure(
            figsize=(preset.width_in, (sum(self.heights) + around * n_rows) / POINTS_PER_INCH),
            dpi=DPI,
            layout=ConstrainedLayoutEngine(
                w_pad=(3.5 if n_cols > 1 else 2.0) / POINTS_PER_INCH,
                h_pad=(4.0 if n_rows > 1 else 2.0) / POINTS_PER_INCH,
                wspace=0.02,
                hspace=0.02,
            ),
        )
        n_cols = n_cols if places.is_grid else 1
        self.grid = self.figure.add_gridspec(n_rows, n_cols, height_ratios=self.heights)
        self.meshes: dict[int, QuadMesh] = {}
        self.bars: list[Colorbar] = []
        self.entries: dict[int, draw.Entries] = {}
        self.axes: list[Axes] = []

    def finished(self) -> Figure:
        """The figure after all passes, with its layout fixed."""
        self._draw_panels()
        self._add_colour_bars()
        if self.spec.title:
            title = wrapped(self.spec.title, self.preset.width_pt - 8, self.preset.title_pt)
            self.figure.suptitle(title, fontsize=self.preset.title_pt, x=0.5)
        self._fit_text(first=True)
        for _ in range(2):
            self.figure.draw_without_rendering()
            self._fit_text(first=False)
            self._fit_height()
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        self._write_inside()
        return self.figure

    def _row_heights(self, widths: list[float]) -> list[float]:
        """The height in points of each row of panels whose axes have these ``widths``."""
        panel_heights = [
            mpl_graph.height(self.layouts[i])
            if i in self.layouts
            else panel_height(panel, widths[i], self.squeeze)
            for i, panel in enumerate(self.spec.panels)
        ]
        return [max(panel_heights[i] for i in row) for row in self.rows]

    def _draw_panels(self) -> None:
        limits = colour_limits(self.spec)
        for i, (panel, cell) in enumerate(
            zip(self.spec.panels, self.places.cells(self.grid), strict=True)
        ):
            ax = self.figure.add_subplot(cell)
            self.axes.append(ax)
            ax.tick_params(labelsize=self.preset.tick_pt)
            if isinstance(panel, Heatmap):
                self.meshes[i] = draw.draw_heatmap(ax, panel, limits[i])
            elif isinstance(panel, Table):
                draw.draw_table(ax, panel, self.widths[i], self.preset)
            elif isinstance(panel, Graph):
                entries = mpl_graph.draw_graph(ax, panel, self.layouts[i])
                self.entries[i] = [(a, t) for a, t in entries if t]
            else:
                self.entries[i] = [(a, t) for a, t in _draw_axes_panel(ax, panel) if t]

    def _add_colour_bars(self) -> None:
        groups = [[i] for i in self.meshes]
        if self.meshes and one_colour_bar(self.spec):
            groups = [list(self.meshes)]
        for members in groups:
            panel = self.spec.panels[members[0]]
            assert isinstance(panel, Heatmap)
            rows = {self.places.row_of(i) for i in members}
            height = sum(self.heights[r] for r in rows)
            shrink = min(1.0, 190.0 / height)
            bar = self.figure.colorbar(
                self.meshes[members[0]],
                ax=[self.axes[i] for i in members],
                aspect=shrink * height / 6.0,
                shrink=shrink,
                pad=0.02,
                extend=_extension([self.spec.panels[i] for i in members], self.meshes[members[0]]),
            )
            bar.outline.set_linewidth(0.5)
            bar.ax.tick_params(labelsize=self.preset.tick_pt)
            bar.locator = matplotlib.ticker.MaxNLocator(nbins=5)
            if bar.solids is not None:
                bar.solids.set(edgecolor="face", rasterized=False)
            label = wrapped(panel.value_title, shrink * height, self.preset.label_pt)
            bar.set_label(label, fontsize=self.preset.label_pt)
            self.bars.append(bar)

    def _fit_text(self, *, first: bool) -> None:
        """Titles, ticks and legends for the room that the axes have."""
        for i, (ax, panel) in enumerate(zip(self.axes, self.spec.panels, strict=True)):
            box = ax.get_window_extent()
            scale = POINTS_PER_INCH / DPI
            width, height = box.width * scale, box.height * scale
            left = 0.0
            if first:
                width, height = 0.7 * self.widths[i], self.heights[self.places.row_of(i)]
            elif not isinstance(panel, Table):
                labels = ax.yaxis.get_tightbbox()
                left = max(box.x0 - labels.x0, 0.0) * scale if labels else 0.0
            if isinstance(panel, Table) and not first:  # its axes may be narrower than foreseen
                draw.draw_table(ax, panel, width, self.preset)
            legend_pt = self._add_legend(i, width, left)
            title = wrapped(panel.title, width, self.preset.label_pt)
            ax.set_title(title, fontsize=self.preset.label_pt, pad=3.0 + legend_pt)
            if isinstance(panel, Table):
                continue
            if isinstance(panel, Graph):
                mpl_graph.label_rows(ax, self.layouts[i], self.widths[i], self.preset)
                continue
            label_pt = self.preset.label_pt
            ax.set_xlabel(wrapped(panel.x_title, width, label_pt), fontsize=label_pt)
            ax.set_ylabel(wrapped(panel.y_title, height, label_pt), fontsize=label_pt)
            if isinstance(panel, Heatmap):
                self._label_columns(ax, list(range(len(panel.cols))), panel.cols, width)
                self._label_rows(ax, panel.rows, height, 0.3 * self.widths[i])
            elif isinstance(panel, Bars | Boxes):
                self._label_columns(ax, list(range(len(panel.groups))), panel.groups, width)
            elif isinstance(panel, Lines) and panel.x_labels is not None:
                self._label_columns(ax, panel.x.tolist(), panel.x_labels, width)

    def _label_columns(self, ax: Axes, at: list, labels: tuple[str, ...], width: float) -> None:
        """Labels below the axes: level where they fit, else upright, and no more than fit."""
        spacing = width / max(len(labels), 1)
        numeric = is_numeric(labels)
        size = self.preset.tick_pt if numeric else self.preset.token_pt
        texts = [shortened(label, 110.0, size) for label in labels]
        widest = max((width_pt(t, size) for t in texts), default=0.0)
        level = numeric or widest + 3.0 <= spacing
        needed = widest + (4.0 if numeric else 3.0) if level else size * 1.15
        shown = thinned(len(labels), spacing, needed)
        ax.set_xticks([at[k] for k in shown], [texts[k] for k in shown])
        ax.tick_params(axis="x", labelsize=size, labelrotation=0 if level else 90, length=2.0)

    def _label_rows(self, ax: Axes, labels: tuple[str, ...], height: float, widest: float) -> None:
        size = self.preset.tick_pt if is_numeric(labels) else self.preset.token_pt
        texts = [shortened(label, widest, size) for label in labels]
        shown = thinned(len(labels), height / max(len(labels), 1), size * 1.1)
        ax.set_yticks(shown, [texts[k] for k in shown])
        ax.tick_params(axis="y", labelsize=size, length=2.0)

    def _add_legend(self, index: int, width: float, left: float) -> float:
        """The height in points of the legend that now stands above the axes.

        It may use the ``width`` of the axes and the room ``left`` of them, above the tick labels.
        """
        entries = self.entries.get(index, [])
        if not entries:
            return 0.0
        size = self.preset.tick_pt
        texts = [shortened(label, width + left - 22.0, size) for _, label in entries]
        widths = [width_pt(t, size) + 27.0 for t in texts]
        columns = _legend_columns(widths, width)
        start = 0.0
        if columns < len(entries) and max(widths) > width:
            columns, start = _legend_columns(widths, width + left), -left / width
        legend = self.axes[index].legend(
            [mark for mark, _ in entries],
            ["-"] * len(entries),  # matplotlib drops labels that start with "_", so set them after
            loc="lower left",
            bbox_to_anchor=(start, 1.0),
            borderaxespad=0.0,
            borderpad=0.3,
            ncols=columns,
            frameon=False,
            fontsize=size,
            handlelength=1.8,
            handletextpad=0.5,
            columnspacing=1.0,
            labelspacing=0.3,
        )
        for text, content in zip(legend.get_texts(), texts, strict=True):
            text.set_text(content)
        return math.ceil(len(entries) / columns) * size * _LINE + 4.0

    def _fit_height(self) -> None:
        """Changes the figure's height so that rows of axes get the heights they should have."""
        scale = POINTS_PER_INCH / DPI
        wanted = self._row_heights([ax.get_window_extent().width * scale for ax in self.axes])
        now = [self.axes[row[0]].get_window_extent().height * scale for row in self.rows]
        self.heights = wanted
        around = [0.0] * len(wanted) if self.places.is_grid else self._heights_around(now)
        self.grid.set_height_ratios([h + a for h, a in zip(wanted, around, strict=True)])
        height = self.figure.get_figheight() * POINTS_PER_INCH + sum(wanted) - sum(now)
        self.figure.set_figheight(max(height, 40.0) / POINTS_PER_INCH)

    def _heights_around(self, axes_heights: list[float]) -> list[float]:
        """In points, what titles, legends and labels of each row need beside its axes' height.

        The layout counts them as part of a row that has columns of its own.
        """
        scale = POINTS_PER_INCH / DPI
        boxes = [ax.get_tightbbox() or ax.get_window_extent() for ax in self.axes]
        around = []
        for row, height in zip(self.rows, axes_heights, strict=True):
            top = max(boxes[i].y1 for i in row)
            bottom = min(boxes[i].y0 for i in row)
            around.append((top - bottom) * scale - height + _ROW_PADS)
        return around

    def _write_inside(self) -> None:
        """Text inside the axes, which needs their final size."""
        scale = POINTS_PER_INCH / DPI
        for i, (ax, panel) in enumerate(zip(self.axes, self.spec.panels, strict=True)):
            box = ax.get_window_extent()
            if isinstance(panel, Heatmap):
                n_rows, n_cols = panel.values.shape
                cell = (box.width * scale / max(n_cols, 1), box.height * scale / max(n_rows, 1))
                draw.write_cells(ax, panel, self.meshes[i], cell, self.preset)
            elif isinstance(panel, Points):
                write_names(ax, panel, self.preset, dpi=DPI)
            elif isinstance(panel, Graph):
                width = box.width * scale
                mpl_graph.label_nodes(ax, panel, self.layouts[i], width, self.preset)


def _draw_axes_panel(ax: Axes, panel: Lines | Bars | Boxes | Points | Histogram) -> draw.Entries:
    if isinstance(panel, Lines):
        return draw.draw_lines(ax, panel)
    if isinstance(panel, Bars):
        return draw.draw_bars(ax, panel)
    if isinstance(panel, Boxes):
        return draw.draw_boxes(ax, panel)
    if isinstance(panel, Points):
        return draw.draw_points(ax, panel)
    return draw.draw_histogram(ax, panel)


def _legend_columns(widths: list[float], room: float) -> int:
    """The most columns for which the widest entry of each column fits into ``room`` together."""
    for columns in range(len(widths), 1, -1):
        rows = math.ceil(len(widths) / columns)
        blocks = [widths[k : k + rows] for k in range(0, len(widths), rows)]
        if sum(max(block) for block in blocks) <= room:
            return len(blocks)
    return 1


def _extension(panels: list[Panel], mesh: QuadMesh) -> str:
    """Which ends of the colour bar get an arrow: those that values go beyond."""
    low, high = mesh.get_clim()
    values = [p.values for p in panels if isinstance(p, Heatmap)]
    below = any(bool((v < low).any()) for v in values)
    above = any(bool((v > high).any()) for v in values)
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (below, above), "both"
    )
