"""One function per panel kind that adds it to a cell of a plotly figure."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mechbench.figures import palette
from mechbench.figures.labels import visible
from mechbench.figures.limits import Range, x_limits
from mechbench.figures.spec import Bars, Boxes, Heatmap, Histogram, Lines, Points, Series, Table

SeriesPanel = Lines | Bars | Boxes | Points | Histogram


@dataclass(frozen=True)
class Cell:
    """One place of the subplot grid."""

    figure: go.Figure
    row: int
    col: int

    def add(self, trace: Any) -> None:
        """Adds ``trace`` here."""
        self.figure.add_trace(trace, row=self.row, col=self.col)

    def axis(self, which: str, *, title: str | None = None, **settings: Any) -> None:
        """Sets the x or y axis."""
        if title is not None:
            settings["title"] = {"text": escape(title), "standoff": 8}
        if "tickvals" in settings:
            settings["tickmode"] = "array"
        update = self.figure.update_xaxes if which == "x" else self.figure.update_yaxes
        update(row=self.row, col=self.col, showgrid=False, zeroline=False, **settings)

    def domain(self) -> tuple[Range, Range]:
        """The part (x range, y range) of the figure that this place covers, in 0..1."""
        subplot: Any = self.figure.get_subplot(self.row, self.col)
        return tuple(subplot.xaxis.domain), tuple(subplot.yaxis.domain)


def texts(labels: tuple[str, ...]) -> list[str]:
    """``labels`` as plotly shows them unchanged: markup escaped, newlines made visible.

    An empty label becomes a space, for plotly would put the position in its place.
    """
    return [escape(visible(label)) or " " for label in labels]


def add_heatmap(cell: Cell, panel: Heatmap, limits: Range, *, bar: dict[str, Any] | None) -> None:
    """Cells at whole-number positions, so that repeated tokens keep their own rows and columns."""
    n_rows, n_cols = panel.values.shape
    rows, cols = texts(panel.rows), texts(panel.cols)
    if not np.isfinite(panel.values).all():
        cell.figure.add_shape(
            type="rect",
            x0=-0.5,
            x1=n_cols - 0.5,
            y0=-0.5,
            y1=n_rows - 0.5,
            fillcolor=palette.MISSING_FACE,
            line_width=0,
            layer="below",
            row=cell.row,
            col=cell.col,
        )
    cell.add(
        go.Heatmap(
            z=np.where(np.isfinite(panel.values), panel.values, np.nan),
            x=np.arange(n_cols),
            y=np.arange(n_rows),
            zmin=limits[0],
            zmax=limits[1],
            colorscale=palette.colour_map(panel.colour),
            customdata=[[[rows[r], cols[c]] for c in range(n_cols)] for r in range(n_rows)],
            hovertemplate=_template(
                (panel.y_title or "row", "%{customdata[0]}"),
                (panel.x_title or "column", "%{customdata[1]}"),
                (panel.value_title or "value", "%{z:.4g}"),
            ),
            hoverongaps=False,
            text=[texts(row) for row in panel.cell_text] if panel.cell_text else None,
            texttemplate="%{text}" if panel.cell_text else None,
            showscale=bar is not None,
            colorbar={
                "title": {"text": escape(panel.value_title), "side": "right"},
                "thickness": 12,
                "xanchor": "left",
                "outlinewidth": 0.5,
                **(bar or {}),
            },
        )
    )
    for row, col in panel.marked:
        cell.figure.add_shape(
            type="rect",
            x0=col - 0.5,
            x1=col + 0.5,
            y0=row - 0.5,
            y1=row + 0.5,
            line={"color": "black", "width": 2},
            row=cell.row,
            col=cell.col,
        )


def column_widths(panel: Table) -> list[int]:
    """The widths of the columns in proportion, by their longest text."""
    columns = list(zip(*panel.rows, strict=True)) or [()] * len(panel.columns)
    return [
        max(map(len, (title, *column))) + 3
        for title, column in zip(panel.columns, columns, strict=True)
    ]


def add_table(cell: Cell, panel: Table) -> None:
    """The table's cells as text."""
    columns = list(zip(*panel.rows, strict=True)) or [()] * len(panel.columns)
    font = {"size": 11}
    cell.add(
        go.Table(
            columnwidth=column_widths(panel),  # by text, so that few cells wrap
            header={
                "values": texts(panel.columns),
                "align": "left",
                "fill_color": "#F2F2F2",
                "font": font,
            },
            cells={
                "values": [texts(column) for column in columns],
                "align": "left",
                "fill_color": "white",
                "line_color": palette.LIGHT_GREY,
                "height": 26,
                "font": font,
            },
        )
    )


def add_series(cell: Cell, panel: SeriesPanel, *, legend: str) -> None:
    """The traces of a panel that has two axes of numbers; its references are drawn last."""
    if isinstance(panel, Lines):
        _add_lines(cell, panel, legend)
    elif isinstance(panel, Bars):
        _add_bars(cell, panel, legend)
    elif isinstance(panel, Boxes):
        _add_boxes(cell, panel, legend)
    elif isinstance(panel, Points):
        _add_points(cell, panel, legend)
    else:
        _add_histogram(cell, panel, legend)
    for reference in panel.references:
        figure: Any = cell.figure  # the hints of add_hline want row and col to be str
        add = figure.add_hline if reference.axis == "y" else figure.add_vline
        line = {"color": palette.GREY, "width": 1, "dash": "dash"}
        # whether a place is empty cannot be told beside a table, which has no axes
        where = {"row": cell.row, "col": cell.col, "exclude_empty_subplots": False}
        add(reference.value, line=line, **where)
        if reference.label:
            key = go.Scatter(x=[None], y=[None], mode="lines", line=line)
            cell.add(key.update(_named(reference.label, legend)))


def _add_lines(cell: Cell, panel: Lines, legend: str) -> None:
    names = texts(panel.x_labels) if panel.x_labels is not None else None
    for i, series in enumerate(panel.series):
        colour = palette.series_colour(i)
        if series.low is not None and series.high is not None:
            invisible = {"mode": "lines", "line_width": 0, "hoverinfo": "skip", "showlegend": False}
            cell.add(go.Scatter(x=panel.x, y=series.low, **invisible))
            cell.add(
                go.Scatter(
                    x=panel.x,
                    y=series.high,
                    fill="tonexty",
                    fillcolor=_transparent(colour, 0.2),
                    **invisible,
                )
            )
        cell.add(
            go.Scatter(
                x=panel.x,
                y=series.values,
                mode="lines+markers" if panel.markers else "lines",
                line={"color": colour, "width": 2, "dash": "dash" if series.dashed else "solid"},
                marker_symbol=palette.MARKERS[i % len(palette.MARKERS)][1],
                text=names,
                customdata=_interval(series),
                hovertemplate=_template(
                    (panel.x_title or "x", "%{text}" if names else "%{x}"),
                    (panel.y_title or "y", "%{y:.4g}%{customdata}"),
                ),
            ).update(_named(series.label, legend))
        )


def _add_bars(cell: Cell, panel: Bars, legend: str) -> None:
    width = 0.8 / max(len(panel.series), 1)
    for i, series in enumerate(panel.series):
        offset = (i - (len(panel.series) - 1) / 2) * width
        error = None
        if series.low is not None and series.high is not None:
            error = {
                "symmetric": False,
                "array": series.high - series.values,
                "arrayminus": series.values - series.low,
                "color": "black",
                "thickness": 1,
                "width": 0,
            }
        cell.add(
            go.Bar(
                x=np.arange(len(panel.groups)) + offset,
                y=series.values,
                width=width * 0.92,
                marker_color=palette.series_colour(i),
                error_y=error,
                text=texts(panel.groups),
                textposition="none",
                customdata=_interval(series),
                hovertemplate=_template(
                    (panel.x_title or "group", "%{text}"),
                    (panel.y_title or "value", "%{y:.4g}%{customdata}"),
                ),
            ).update(_named(series.label, legend))
        )


def _add_boxes(cell: Cell, panel: Boxes, legend: str) -> None:
    width = 0.8 / max(len(panel.series), 1)
    for i, series in enumerate(panel.series):
        offset = (i - (len(panel.series) - 1) / 2) * width
        there = np.isfinite(series.values)
        cell.add(
            go.Box(
                x=np.arange(len(panel.groups))[there] + offset,
                q1=series.q1[there],
                median=series.values[there],
                q3=series.q3[there],
                lowerfence=series.low[there],
                upperfence=series.high[there],
                width=width * 0.86,
                marker_color=palette.series_colour(i),
            ).update(_named(series.label, legend))
        )


def _add_points(cell: Cell, panel: Points, legend: str) -> None:
    groups = panel.groups or ("",) * len(panel.x)
    labels = texts(panel.labels) if panel.labels else ["point"] * len(panel.x)
    ends = np.array(x_limits(panel))
    for fit in panel.fits:
        line = go.Scatter(
            x=ends,
            y=fit.slope * ends + fit.intercept,
            mode="lines",
            line={"color": palette.GREY, "width": 1.5},
            hoverinfo="skip",
        )
        cell.add(line.update(_named(fit.label, legend)))
    for i, group in enumerate(dict.fromkeys(groups)):
        chosen = [k for k, g in enumerate(groups) if g == group]
        points = go.Scatter(
            x=panel.x[chosen],
            y=panel.y[chosen],
            mode="markers+text" if panel.named else "markers",
            text=[labels[k] if k in panel.named else "" for k in chosen],
            textposition="top right",
            textfont_size=10,
            customdata=[labels[k] for k in chosen],
            marker={
                "color": palette.series_colour(i),
                "symbol": palette.MARKERS[i % len(palette.MARKERS)][1],
                "size": 7,
                "line": {"color": "white", "width": 0.5},
            },
            hovertemplate=_template(
                ("", "%{customdata}"),
                (panel.x_title or "x", "%{x:.4g}"),
                (panel.y_title or "y", "%{y:.4g}"),
            ),
        )
        cell.add(points.update(_named(group, legend)))


def _add_histogram(cell: Cell, panel: Histogram, legend: str) -> None:
    widths = np.diff(panel.edges)
    for i, series in enumerate(panel.series):
        colour = palette.series_colour(i)
        bars = go.Bar(
            x=panel.edges[:-1] + widths / 2,
            y=series.values,
            width=widths,
            marker={"color": _transparent(colour, 0.35), "line": {"color": colour, "width": 1}},
            customdata=np.column_stack([panel.edges[:-1], panel.edges[1:]]),
            hovertemplate=_template(
                (panel.x_title or "bin", "%{customdata[0]:.4g} to %{customdata[1]:.4g}"),
                (panel.y_title or "count", "%{y:.4g}"),
            ),
        )
        cell.add(bars.update(_named(series.label, legend)))


def _named(label: str, legend: str) -> dict[str, Any]:
    text = escape(visible(label))
    return {"name": text, "showlegend": bool(text), "legend": legend}


def _interval(series: Series) -> list[str]:
    if series.low is None or series.high is None:
        return [""] * len(series.values)
    pairs = zip(series.low, series.high, strict=True)
    return [f" [{low:.4g}, {high:.4g}]" for low, high in pairs]


def _template(*parts: tuple[str, str]) -> str:
    """A hover text of lines "title: value", where a title cannot inject a placeholder."""
    lines = []
    for title, value in parts:
        safe = escape(visible(title)).replace("{", "&#123;")
        lines.append(f"{safe}: {value}" if safe else value)
    return "<br>".join(lines) + "<extra></extra>"


def _transparent(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
