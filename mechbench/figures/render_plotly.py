"""Figure specs drawn by plotly, for the dashboard and for HTML pages.

Values, limits and labels come from the same functions as in ``render_mpl``. All text is escaped:
plotly would read a token such as ``<b>`` as markup.
"""

import math
from dataclasses import replace
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mechbench.figures import plotly_graph
from mechbench.figures import plotly_panels as draw
from mechbench.figures import plotly_room as room
from mechbench.figures.graph import Graph
from mechbench.figures.labels import is_numeric, thinned
from mechbench.figures.limits import colour_limits, one_colour_bar, x_limits, y_limits
from mechbench.figures.palette import GREY
from mechbench.figures.plotly_panels import Cell
from mechbench.figures.spec import Bars, Boxes, FigureSpec, Heatmap, Lines, Panel, Points, Table

_WIDTH = 900  # pixels that the layout of labels is planned for; the page may scale the figure
_LINE = {"showline": True, "linecolor": "#444444", "linewidth": 1, "ticks": "outside", "ticklen": 4}
_LEAST = 660  # pixels of a narrow page, for what does not scale with it
_TEXT_LINE = 16.0


def to_plotly(spec: FigureSpec) -> go.Figure:
    """``spec`` as an interactive figure with hover texts, as wide as the page it is shown on."""
    n_cols = min(spec.columns, len(spec.panels))
    spec = _titled_once(spec, n_cols)
    n_rows = math.ceil(len(spec.panels) / n_cols)
    layouts = {
        i: plotly_graph.plan(panel, _WIDTH / n_cols)
        for i, panel in enumerate(spec.panels)
        if isinstance(panel, Graph)
    }
    widths = [_WIDTH / n_cols] * len(spec.panels)
    if _last_is_wide(spec, n_cols):
        widths[-1] = _WIDTH
    heights = [
        plotly_graph.height(layouts[i]) if i in layouts else _height(panel, widths[i])
        for i, panel in enumerate(spec.panels)
    ]
    rows = [max(heights[k : k + n_cols]) for k in range(0, len(heights), n_cols)]
    legends = [_legend_lines(p, n_cols) for p in spec.panels]
    under = [room.below(p, 0.7 * w) for p, w in zip(spec.panels, widths, strict=True)]
    gap = 50.0 + max(under[:-1], default=60.0) + _TEXT_LINE * max(legends[n_cols:], default=0)
    total = sum(rows) + gap * (n_rows - 1)
    figure = make_subplots(
        rows=n_rows,
        cols=n_cols,
        specs=_subplot_kinds(spec, n_rows, n_cols),
        row_heights=rows,
        subplot_titles=[escape(p.title) or " " for p in spec.panels],
        horizontal_spacing=_column_gap(spec, n_cols),
        vertical_spacing=gap / total if n_rows > 1 else 0.0,
    )
    figure.update_annotations(font_size=14)  # the panels' titles, one for each panel
    for title, lines in zip(list(figure.layout.annotations), legends, strict=True):
        title.yshift = 6.0 + _TEXT_LINE * 1.2 * lines
    limits = colour_limits(spec)
    for i, panel in enumerate(spec.panels):
        cell = Cell(figure, i // n_cols + 1, i % n_cols + 1)
        if isinstance(panel, Heatmap):
            first = min(limits)
            show_bar = i == first or not one_colour_bar(spec)
            draw.add_heatmap(cell, panel, limits[i], bar=_bar_place(spec, cell, n_cols, show_bar))
            _label_heatmap(cell, panel, _WIDTH / n_cols)
        elif isinstance(panel, Table):
            draw.add_table(cell, panel)
        elif isinstance(panel, Graph):
            plotly_graph.add_graph(cell, panel, layouts[i], legend=_legend_key(i))
            _place_legend(cell, i, level=n_cols == 1)
        else:
            draw.add_series(cell, panel, legend=_legend_key(i))
            _set_axes(cell, panel, _WIDTH / n_cols)
            _place_legend(cell, i, level=n_cols == 1)
    first_column = spec.panels[::n_cols]
    bottom = max(under[-n_cols:])
    top = 50.0 + _TEXT_LINE * 1.2 * max(legends[:n_cols]) + (35.0 if spec.title else 0.0)
    figure.update_layout(
        title={"text": escape(spec.title), "x": 0.5, "y": 1.0, "pad": {"t": 14}, "yanchor": "top"},
        height=total + top + bottom,
        font={"family": "DejaVu Sans, Verdana, sans-serif", "size": 12, "color": "#222222"},
        plot_bgcolor="white",
        paper_bgcolor="white",
        barmode="overlay",
        margin={"l": max(map(room.left_of, first_column)), "r": 90, "t": top, "b": bottom},
        hoverlabel={"align": "left"},
    )
    return figure


def _legend_lines(panel: Panel, n_cols: int) -> int:
    """Lines of text that the legend of ``panel`` takes; few where it has the whole width."""
    if isinstance(panel, Heatmap | Table):
        return 0
    if isinstance(panel, Graph):
        return plotly_graph.legend_lines(panel, (0.82 if n_cols == 1 else 0.3) * _WIDTH / n_cols)
    labels = [r.label for r in panel.references]
    if isinstance(panel, Points):
        labels += [*dict.fromkeys(panel.groups or ()), *(fit.label for fit in panel.fits)]
    else:
        labels += [series.label for series in panel.series]
    entries = sum(bool(label) for label in labels)
    return min(entries, 1) if n_cols == 1 else entries


def _column_gap(spec: FigureSpec, n_cols: int) -> float:
    """Space between columns as a part of the width: for tick labels and, if need be, a bar."""
    if n_cols == 1:
        return 0.0
    own_bar = not one_colour_bar(spec)
    left = max(room.left_of(p) for i, p in enumerate(spec.panels) if i % n_cols)
    right = max(room.right_of(p, own_bar=own_bar) for p in spec.panels)
    return min((left + right) / _LEAST, 0.6 / (n_cols - 1))


def _titled_once(spec: FigureSpec, n_cols: int) -> FigureSpec:
    """``spec`` whose heat maps in one row have the title of their y axes once, where it is one."""
    panels = list(spec.panels)
    for i, panel in enumerate(panels):
        first = panels[i - i % n_cols]
        if i % n_cols and isinstance(panel, Heatmap) and isinstance(first, Heatmap):
            if panel.y_title == first.y_title:
                panels[i] = replace(panel, y_title="")
    return replace(spec, panels=tuple(panels))


def _last_is_wide(spec: FigureSpec, n_cols: int) -> bool:
    """Whether the last panel is a table alone in its row, of which it then takes the whole."""
    return isinstance(spec.panels[-1], Table) and len(spec.panels) % n_cols == 1


def _subplot_kinds(spec: FigureSpec, n_rows: int, n_cols: int) -> list[list[dict | None]]:
    kinds: list[dict | None] = [
        {"type": "table" if isinstance(p, Table) else "xy"} for p in spec.panels
    ]
    if _last_is_wide(spec, n_cols):
        kinds[-1] = {"type": "table", "colspan": n_cols}
    kinds += [None] * (n_rows * n_cols - len(kinds))
    return [kinds[k : k + n_cols] for k in range(0, len(kinds), n_cols)]


def _height(panel: Panel, width: float) -> float:
    """Height in pixels that suits ``panel`` in a subplot ``width`` pixels wide."""
    if isinstance(panel, Heatmap):
        n_rows, n_cols = panel.values.shape
        cell = min(max(0.7 * width / max(n_cols, 1), 16.0), 30.0)
        return min(max(cell * n_rows, 120.0), 800.0)
    if isinstance(panel, Table):
        return 60.0 + sum(_row_height(row, panel, width) for row in (panel.columns, *panel.rows))
    if isinstance(panel, Points):
        return min(max(0.8 * width, 300.0), 520.0)
    return min(max(0.55 * width, 260.0), 400.0)


def _row_height(row: tuple[str, ...], panel: Table, width: float) -> float:
    """Height in pixels of a row of a table, whose columns are as wide as ``add_table`` says."""
    widths = draw.column_widths(panel)
    inside = [0.8 * width * part / sum(widths) - 12.0 for part in widths]
    cells = zip(row, inside, strict=True)
    lines = max((math.ceil(len(text) * 6.2 / max(w, 20.0)) for text, w in cells), default=1)
    return 28.0 + 14.0 * (max(lines, 1) - 1)


def _bar_place(spec: FigureSpec, cell: Cell, n_cols: int, shown: bool) -> dict | None:
    """Where the colour bar stands: right of its own panel, or right of all that share it."""
    if not shown:
        return None
    if one_colour_bar(spec):
        maps = [i for i, panel in enumerate(spec.panels) if isinstance(panel, Heatmap)]
        ends = [Cell(cell.figure, i // n_cols + 1, 1).domain()[1] for i in (maps[0], maps[-1])]
        low, high = ends[1][0], ends[0][1]
        return {"x": 1.01, "y": (low + high) / 2, "len": high - low}
    x, y = cell.domain()
    return {"x": x[1] + 0.005, "y": (y[0] + y[1]) / 2, "len": y[1] - y[0]}


def _label_heatmap(cell: Cell, panel: Heatmap, width: float) -> None:
    n_rows, n_cols = panel.values.shape
    rows, cols = draw.texts(panel.rows), draw.texts(panel.cols)
    shown_rows = thinned(n_rows, _height(panel, width) / max(n_rows, 1), _TEXT_LINE)
    needed = (
        max(map(len, panel.cols), default=1) * room.CHARACTER if is_numeric(panel.cols) else 14.0
    )
    shown_cols = thinned(n_cols, 0.75 * width / max(n_cols, 1), needed)
    upward = panel.first_row == "bottom"
    cell.axis(
        "x",
        title=panel.x_title,
        tickvals=shown_cols,
        ticktext=[cols[k] for k in shown_cols],
        range=[-0.5, n_cols - 0.5],
        **_LINE,
    )
    cell.axis(
        "y",
        title=panel.y_title,
        tickvals=shown_rows,
        ticktext=[rows[k] for k in shown_rows],
        range=[-0.5, n_rows - 0.5] if upward else [n_rows - 0.5, -0.5],
        **_LINE,
    )


def _set_axes(cell: Cell, panel: draw.SeriesPanel, width: float) -> None:
    scales = (panel.x_scale, panel.y_scale) if isinstance(panel, Lines) else ("linear", "linear")
    for axis, scale, limits, title in (
        ("x", scales[0], x_limits(panel), panel.x_title),
        ("y", scales[1], y_limits(panel), panel.y_title),
    ):
        ends = [math.log10(v) for v in limits] if scale == "log" else list(limits)
        cell.axis(axis, title=title, type=scale, range=ends, **_LINE)
        if scale == "log" and ends[1] - ends[0] > 2:  # whole decades, without small 2s and 5s
            cell.axis(axis, dtick=1, minor={"ticks": "outside", "ticklen": 2})
    labels, at = None, None
    if isinstance(panel, Bars | Boxes):
        labels, at = panel.groups, list(range(len(panel.groups)))
    elif isinstance(panel, Lines) and panel.x_labels is not None:
        labels, at = panel.x_labels, panel.x.tolist()
    if labels is not None and at is not None:
        shown = thinned(len(labels), 0.75 * width / max(len(labels), 1), 14.0)
        shown_texts = draw.texts(tuple(labels[k] for k in shown))
        cell.axis("x", tickvals=[at[k] for k in shown], ticktext=shown_texts)


def _legend_key(index: int) -> str:
    return "legend" if index == 0 else f"legend{index + 1}"


def _place_legend(cell: Cell, index: int, *, level: bool) -> None:
    """A legend of its own for each panel, above its axes, so that it covers no data."""
    x, y = cell.domain()
    place = {"x": x[0], "y": y[1], "xanchor": "left", "yanchor": "bottom"}
    place["traceorder"] = "normal"  # plotly turns the order round where there are bands
    style = {"orientation": "h" if level else "v", "font": {"size": 11, "color": GREY}}
    cell.figure.update_layout({_legend_key(index): {**place, **style}})
