"""The numbers of a figure as one tidy table: a row for each value that is drawn."""

import csv
import io
from collections.abc import Iterator

from mechbench.figures.graph import Graph
from mechbench.figures.spec import (
    Bars,
    Boxes,
    BoxSeries,
    FigureSpec,
    Heatmap,
    Histogram,
    Lines,
    Panel,
    Points,
    Table,
)

COLUMNS: tuple[str, ...] = (
    "panel",
    "kind",
    "title",
    "series",
    "row",
    "column",
    "x",
    "value",
    "low",
    "high",
)
Row = dict[str, object]


def to_csv(spec: FigureSpec) -> str:
    """``spec`` as CSV text with the columns ``COLUMNS``; a cell that does not apply is empty.

    ``row`` and ``column`` are labels (of heatmaps and tables), ``x`` is a number or a label,
    ``low`` and ``high`` bound the interval. A bin of a histogram has its lower edge as ``x`` and
    its upper edge as ``column``. A box has two rows: with its whiskers and with its quartiles as
    ``low`` and ``high``. Repeated labels stay apart by their order. A graph has rows of kind
    "graph node" (group, id, label, rank as ``x``, weight as ``value``) and of kind "graph edge"
    (port as ``series``, source as ``row``, target as ``column``, score).
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for i, panel in enumerate(spec.panels):
        common = {"panel": i, "kind": type(panel).__name__.lower(), "title": panel.title}
        writer.writerows(common | row for row in _rows(panel))
    return text.getvalue()


def _rows(panel: Panel) -> Iterator[Row]:
    if isinstance(panel, Heatmap):
        for r, row in enumerate(panel.rows):
            for c, column in enumerate(panel.cols):
                yield {"row": row, "column": column, "value": float(panel.values[r, c])}
    elif isinstance(panel, Table):
        for r, cells in enumerate(panel.rows):
            for column, cell in zip(panel.columns, cells, strict=True):
                yield {"row": r, "column": column, "value": cell}
    elif isinstance(panel, Points):
        groups = panel.groups or ("",) * len(panel.x)
        labels = panel.labels or ("",) * len(panel.x)
        for i, x in enumerate(panel.x.tolist()):
            yield {"series": groups[i], "row": labels[i], "x": x, "value": float(panel.y[i])}
    elif isinstance(panel, Graph):
        yield from _graph_rows(panel)
    else:
        yield from _series_rows(panel)


def _graph_rows(panel: Graph) -> Iterator[Row]:
    for node in panel.nodes:
        row: Row = {"series": node.group, "row": node.id, "column": node.label, "x": node.rank}
        yield {"kind": "graph node", **row, "value": "" if node.weight is None else node.weight}
    for edge in panel.edges:
        ends = {"row": edge.source, "column": edge.target}
        yield {"kind": "graph edge", "series": edge.port, **ends, "value": edge.score}


def _series_rows(panel: Lines | Bars | Boxes | Histogram) -> Iterator[Row]:
    labels: tuple[str, ...] | None = None
    if isinstance(panel, Lines):
        at, labels = panel.x.tolist(), panel.x_labels
    elif isinstance(panel, Bars | Boxes):
        at = list(panel.groups)
    else:
        at, labels = panel.edges[:-1].tolist(), tuple(map(repr, panel.edges[1:].tolist()))
    for series in panel.series:
        for i, x in enumerate(at):
            row: Row = {"series": series.label, "x": x, "value": float(series.values[i])}
            if labels is not None:
                row["column"] = labels[i]
            if series.low is not None and series.high is not None:
                row |= {"low": float(series.low[i]), "high": float(series.high[i])}
            yield row
            if isinstance(series, BoxSeries):
                quartiles = {"low": float(series.q1[i]), "high": float(series.q3[i])}
                yield {**row, "row": "quartiles", **quartiles}
