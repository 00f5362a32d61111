"""One function per panel kind that draws it on matplotlib axes; layout is the caller's."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, ScalarFormatter

from mechbench.figures import palette
from mechbench.figures.labels import power_label
from mechbench.figures.limits import Range, x_limits, y_limits
from mechbench.figures.mpl_text import drawable, shortened, width_pt
from mechbench.figures.presets import Preset
from mechbench.figures.spec import (
    Bars,
    Boxes,
    Diverging,
    Heatmap,
    Histogram,
    Lines,
    Panel,
    Points,
    Reference,
    Table,
)

Entries = list[tuple[Artist, str]]  # what the legend lists: a mark and its label

_RASTERISE_ABOVE = 50_000
_DARK = 0.5
_SMALLEST = 4.5  # points, of text that is made smaller to fit
_COLUMN_GAP = 9.0


def draw_heatmap(ax: Axes, panel: Heatmap, limits: Range) -> QuadMesh:
    """The coloured cells, drawn as vectors (as one image above fifty thousand cells)."""
    n_rows, n_cols = panel.values.shape
    norm = (
        CenteredNorm(0.0, halfrange=limits[1])
        if isinstance(panel.colour, Diverging)
        else Normalize(*limits)
    )
    if not np.isfinite(panel.values).all():
        ax.patch.set(facecolor=palette.MISSING_FACE, edgecolor=palette.MISSING_HATCH, hatch="/////")
    mesh = ax.pcolormesh(
        np.arange(n_cols + 1) - 0.5,
        np.arange(n_rows + 1) - 0.5,
        np.ma.masked_invalid(panel.values),
        cmap=palette.colour_map(panel.colour),
        norm=norm,
        edgecolors="face",
        linewidth=0.25,
        rasterized=panel.values.size > _RASTERISE_ABOVE,
    )
    ax.set_xlim(-0.5, n_cols - 0.5)
    upward = panel.first_row == "bottom"
    ax.set_ylim(*((-0.5, n_rows - 0.5) if upward else (n_rows - 0.5, -0.5)))
    for row, col in panel.marked:
        outline = Rectangle((col - 0.5, row - 0.5), 1, 1, fill=False, linewidth=0.9, zorder=3)
        outline.set_path_effects([withStroke(linewidth=2.0, foreground="white"), Normal()])
        ax.add_patch(outline)
    return mesh


def write_cells(ax: Axes, panel: Heatmap, mesh: QuadMesh, cell_pt: Range, preset: Preset) -> None:
    """Writes ``panel.cell_text`` in cells of ``cell_pt`` (width, height), cut where too wide."""
    if panel.cell_text is None:
        return
    room = cell_pt[0] - 2.0
    widest = max(width_pt(drawable(t), preset.token_pt) for row in panel.cell_text for t in row)
    size = max(
        _SMALLEST, min(preset.token_pt, preset.token_pt * room / max(widest, 1.0), cell_pt[1] - 1)
    )
    for row, texts in enumerate(panel.cell_text):
        for col, text in enumerate(texts):
            value = panel.values[row, col]
            rgb = mesh.cmap(mesh.norm(value))[:3] if np.isfinite(value) else (1.0, 1.0, 1.0)
            dark = np.dot(rgb, (0.2126, 0.7152, 0.0722)) < _DARK
            ax.text(
                col,
                row,
                shortened(text, room, size),
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else "black",
            )


def draw_lines(ax: Axes, panel: Lines) -> Entries:
    """Legend entries, after the lines and their bands are drawn."""
    entries: Entries = []
    for i, series in enumerate(panel.series):
        colour = palette.series_colour(i)
        if series.low is not None and series.high is not None:
            ax.fill_between(
                panel.x, series.low, series.high, color=colour, alpha=0.2, linewidth=0, zorder=1.5
            )
        (line,) = ax.plot(
            panel.x,
            series.values,
            color=colour,
            linestyle=(0, (4, 2)) if series.dashed else "-",
            marker=palette.MARKERS[i % len(palette.MARKERS)][0] if panel.markers else None,
        )
        entries.append((line, series.label))
    ax.set(xscale=panel.x_scale, yscale=panel.y_scale)
    return entries + _finish_axes(ax, panel)


def draw_bars(ax: Axes, panel: Bars) -> Entries:
    """Legend entries, after the bars and their error bars are drawn."""
    entries: Entries = []
    width = 0.8 / max(len(panel.series), 1)
    at = np.arange(len(panel.groups), dtype=np.float64)
    for i, series in enumerate(panel.series):
        offset = (i - (len(panel.series) - 1) / 2) * width
        bars = ax.bar(at + offset, series.values, width * 0.92, color=palette.series_colour(i))
        entries.append((bars[0], series.label))
        if series.low is not None and series.high is not None:
            ax.vlines(at + offset, series.low, series.high, color="black", linewidth=0.8, zorder=3)
    ax.axhline(0.0, color="black", linewidth=0.6)
    return entries + _finish_axes(ax, panel)


def draw_boxes(ax: Axes, panel: Boxes) -> Entries:
    """Legend entries, after the boxes, their medians and their whiskers are drawn."""
    entries: Entries = []
    width = 0.8 / max(len(panel.series), 1)
    for i, series in enumerate(panel.series):
        at = np.arange(len(panel.groups)) + (i - (len(panel.series) - 1) / 2) * width
        colour = palette.series_colour(i)
        heights = series.q3 - series.q1
        bars = ax.bar(at, heights, width * 0.86, bottom=series.q1, color=colour, alpha=0.45)
        entries.append((bars[0], series.label))
        for one, other in ((series.low, series.q1), (series.q3, series.high)):
            ax.vlines(at, one, other, color=colour, linewidth=0.9)
        half = width * 0.43
        ax.hlines(series.values, at - half, at + half, color="black", linewidth=1.2, zorder=3)
    return entries + _finish_axes(ax, panel)


def draw_points(ax: Axes, panel: Points) -> Entries:
    """Legend entries, after the points of each group and the fitted lines are drawn."""
    entries: Entries = []
    groups = panel.groups or ("",) * len(panel.x)
    for i, group in enumerate(dict.fromkeys(groups)):
        chosen = np.array([g == group for g in groups])
        (points,) = ax.plot(
            panel.x[chosen],
            panel.y[chosen],
            linestyle="none",
            marker=palette.MARKERS[i % len(palette.MARKERS)][0],
            markersize=3.2,
            markeredgecolor="white",
            markeredgewidth=0.3,
            color=palette.series_colour(i),
        )
        entries.append((points, group))
    ends = np.array(x_limits(panel))
    for fit in panel.fits:
        (line,) = ax.plot(
            ends, fit.slope * ends + fit.intercept, color=palette.GREY, linewidth=0.9, zorder=1.5
        )
        entries.append((line, fit.label))
    return entries + _finish_axes(ax, panel)


def draw_histogram(ax: Axes, panel: Histogram) -> Entries:
    """Legend entries, after the outlines of the bins are drawn one over the other."""
    entries: Entries = []
    for i, series in enumerate(panel.series):
        colour = palette.series_colour(i)
        ax.stairs(series.values, panel.edges, fill=True, color=colour, alpha=0.25, linewidth=0)
        outline = ax.stairs(series.values, panel.edges, color=colour, linewidth=1.0)
        entries.append((outline, series.label))
    return entries + _finish_axes(ax, panel)


def draw_table(ax: Axes, panel: Table, width: float, preset: Preset) -> None:
    """Text between three rules, in axes ``width`` points wide.

    What was drawn before is replaced. The text makes no room for itself: it is made smaller, and
    then cut, to fit.
    """
    size, widths = _fitted_columns(panel, width, preset)
    ax.clear()
    n_lines = len(panel.rows) + 1
    ax.set(xlim=(0, sum(widths)), ylim=(n_lines, 0))
    ax.axis("off")
    right = [_is_number_column(panel, c) for c in range(len(panel.columns))]
    for line, cells in enumerate((panel.columns, *panel.rows)):
        left = 0.0
        for col, cell in enumerate(cells):
            ax.text(
                left + (widths[col] - 4.0 if right[col] else 4.0),
                line + 0.5,
                shortened(cell, widths[col] - 8.0, size),
                ha="right" if right[col] else "left",
                va="center_baseline",
                fontsize=size,
                in_layout=False,
            )
            left += widths[col]
    for y, weight in ((0, 0.9), (1, 0.5), (n_lines, 0.9)):
        ax.axhline(y, color="black", linewidth=weight, clip_on=False)


def _fitted_columns(panel: Table, width: float, preset: Preset) -> tuple[float, list[float]]:
    """The size of the text, and the columns' widths, which sum to ``width``; all in points."""
    columns = list(zip(panel.columns, *panel.rows, strict=True))
    room = width - _COLUMN_GAP * len(columns)
    widest = [max(width_pt(drawable(c), preset.tick_pt) for c in cells) for cells in columns]
    size = max(_SMALLEST, min(preset.tick_pt, preset.tick_pt * room / sum(widest)))
    wanted = [w * size / preset.tick_pt + _COLUMN_GAP for w in widest]
    if sum(wanted) <= width:
        spare = (width - sum(wanted)) / len(wanted)
        return size, [w + spare for w in wanted]
    # The widest columns are cut to one width; all others keep what they need.
    left, cut = width, 0.0
    for n, narrowest in zip(range(len(wanted), 0, -1), sorted(wanted), strict=True):
        cut = left / n
        if narrowest > cut:
            break
        left -= narrowest
    return size, [min(w, cut) for w in wanted]


def _is_number_column(panel: Table, column: int) -> bool:
    cells = [row[column] for row in panel.rows if row[column] not in ("", "–", "-")]
    return bool(cells) and all(_starts_as_number(cell) for cell in cells)


def _starts_as_number(cell: str) -> bool:
    return cell.lstrip("+-−±<≥≤>~ ")[:1].isdigit()


def _finish_axes(ax: Axes, panel: Lines | Bars | Boxes | Points | Histogram) -> Entries:
    entries = [(_draw_reference(ax, r), r.label) for r in panel.references]
    ax.set(xlim=x_limits(panel), ylim=y_limits(panel))
    ax.spines[["top", "right"]].set_visible(False)
    for axis, values in ((ax.xaxis, _x_values(panel)), (ax.yaxis, None)):
        if axis.get_scale() == "log":
            axis.set_major_formatter(FuncFormatter(lambda value, _: power_label(value)))
            axis.set_minor_formatter(NullFormatter())
        else:
            whole = values is not None and bool(np.all(values == np.round(values)))
            axis.set_major_locator(MaxNLocator(nbins=5, integer=whole))
            axis.set_major_formatter(ScalarFormatter(useOffset=False))
    return entries


def _x_values(panel: Panel) -> np.ndarray | None:
    return panel.x if isinstance(panel, Lines | Points) else None


def _draw_reference(ax: Axes, reference: Reference) -> Artist:
    line = ax.axhline if reference.axis == "y" else ax.axvline
    return line(
        reference.value, color=palette.GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1.2
    )
