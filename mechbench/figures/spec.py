"""What a figure shows, without saying how it is drawn.

A ``FigureSpec`` is panels of numpy arrays and labels. Both renderers (plotly, matplotlib) read
the same spec, and it is stored beside every exported figure, so a figure can be drawn again.
Labels are plain text: tokens may hold any character, nothing in them is read as markup.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mechbench.errors import MechbenchError
from mechbench.figures.graph import Graph

Scale = Literal["linear", "log"]
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _numbers(values: Any, rank: int, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} must be numbers, not {array.dtype}")
    if array.ndim != rank:
        raise ValueError(f"{what} must have {rank} axes, not the shape {array.shape}")
    return array.astype(np.float64)


def _same_length(what: str, **lengths: int) -> None:
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{k} has {v}" for k, v in lengths.items())
        raise ValueError(f"{what}: lengths differ ({listed})")


@dataclass(frozen=True, kw_only=True, eq=False)
class Diverging:
    """Colours for signed values: zero is white, the range ±``limit`` (None: largest |value|)."""

    limit: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequential:
    """Colours for amounts between ``low`` and ``high`` (from the data where None)."""

    low: float | None = None
    high: float | None = None
    palette: Literal["blues", "cividis"] = "blues"


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One named line, set of bars or histogram; ``low`` and ``high`` bound its interval."""

    label: str
    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dashed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _numbers(self.values, 1, f"series {self.label!r}"))
        if (self.low is None) != (self.high is None):
            raise ValueError(f"series {self.label!r}: give both low and high, or neither")
        for name in ("low", "high"):
            bound = getattr(self, name)
            if bound is not None:
                bound = _numbers(bound, 1, f"{name} of series {self.label!r}")
                _same_length(f"series {self.label!r}", values=len(self.values), bound=len(bound))
                object.__setattr__(self, name, bound)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """A dashed line across a panel at ``value`` of ``axis``."""

    value: float
    label: str = ""
    axis: Literal["x", "y"] = "y"


@dataclass(frozen=True, kw_only=True, eq=False)
class Heatmap:
    """Coloured cells ``values [row col]``. NaN cells are drawn as "no value", never as a colour.

    ``marked`` cells ``(row, col)`` get an outline; ``cell_text [row][col]`` is written in cells.
    Row 0 is at the top, or at the bottom with ``first_row="bottom"``.
    """

    values: np.ndarray
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    value_title: str = ""
    colour: Diverging | Sequential = field(default_factory=Diverging)
    cell_text: tuple[tuple[str, ...], ...] | None = None
    marked: tuple[tuple[int, int], ...] = ()
    first_row: Literal["top", "bottom"] = "top"

    def __post_init__(self) -> None:
        values = _numbers(self.values, 2, "heatmap values [row col]")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "rows", tuple(map(str, self.rows)))
        object.__setattr__(self, "cols", tuple(map(str, self.cols)))
        _same_length("heatmap rows", values=values.shape[0], labels=len(self.rows))
        _same_length("heatmap columns", values=values.shape[1], labels=len(self.cols))
        object.__setattr__(self, "marked", tuple((int(r), int(c)) for r, c in self.marked))
        for row, col in self.marked:
            if not (0 <= row < values.shape[0] and 0 <= col < values.shape[1]):
                raise ValueError(f"marked cell {(row, col)} is outside the shape {values.shape}")
        if self.cell_text is not None:
            text = tuple(tuple(map(str, row)) for row in self.cell_text)
            if [len(row) for row in text] != [values.shape[1]] * values.shape[0]:
                raise ValueError(f"cell_text must have the shape of the values, {values.shape}")
            object.__setattr__(self, "cell_text", text)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """Lines over ``x [point]``, each with an optional band; ``x_labels`` name the points."""

    x: np.ndarray
    series: tuple[Series, ...]
    x_labels: tuple[str, ...] | None = None
    references: tuple[Reference, ...] = ()
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    y_limits: tuple[float, float] | None = None
    markers: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _numbers(self.x, 1, "x of the lines"))
        for series in self.series:
            _same_length(f"line {series.label!r}", x=len(self.x), values=len(series.values))
        if self.x_labels is not None:
            object.__setattr__(self, "x_labels", tuple(map(str, self.x_labels)))
            _same_length("labels of x", x=len(self.x), labels=len(self.x_labels))


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """Bars ``series [group]`` side by side in each of ``groups``; low and high are error bars."""

    groups: tuple[str, ...]
    series: tuple[Series, ...]
    references: tuple[Reference, ...] = ()
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    y_limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(map(str, self.groups)))
        for series in self.series:
            _same_length(f"bars {series.label!r}", groups=len(self.groups), bars=len(series.values))


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxSeries:
    """One named set of boxes ``[group]``: medians ``values``, quartiles, and ends of whiskers."""

    label: str
    values: np.ndarray
    q1: np.ndarray
    q3: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        for name in ("values", "q1", "q3", "low", "high"):
            numbers = _numbers(getattr(self, name), 1, f"{name} of boxes {self.label!r}")
            object.__setattr__(self, name, numbers)
            _same_length(f"boxes {self.label!r}", values=len(self.values), numbers=len(numbers))


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """Boxes ``series [group]`` side by side in each of ``groups``; NaN where there is none."""

    groups: tuple[str, ...]
    series: tuple[BoxSeries, ...]
    references: tuple[Reference, ...] = ()
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    y_limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(map(str, self.groups)))
        for series in self.series:
            _same_length(
                f"boxes {series.label!r}", groups=len(self.groups), boxes=len(series.values)
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A straight line ``slope * x + intercept`` drawn behind points; the caller computed it."""

    slope: float
    intercept: float
    label: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Points at ``x [point]``, ``y [point]``, coloured by ``groups`` (in order of appearance).

    ``labels`` name points on hover; the points in ``named`` also get their label beside them.
    """

    x: np.ndarray
    y: np.ndarray
    groups: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    named: tuple[int, ...] = ()
    fits: tuple[Fit, ...] = ()
    references: tuple[Reference, ...] = ()
    title: str = ""
    x_title: str = ""
    y_title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _numbers(self.x, 1, "x of the points"))
        object.__setattr__(self, "y", _numbers(self.y, 1, "y of the points"))
        _same_length("points", x=len(self.x), y=len(self.y))
        for name in ("groups", "labels"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, tuple(map(str, given)))
                _same_length(f"{name} of points", x=len(self.x), **{name: len(given)})
        object.__setattr__(self, "named", tuple(map(int, self.named)))
        if self.named and self.labels is None:
            raise ValueError("points are named by their labels: give labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """Counts or densities ``series [bin]`` between ``edges [bin + 1]``, overlaid."""

    edges: np.ndarray
    series: tuple[Series, ...]
    references: tuple[Reference, ...] = ()
    title: str = ""
    x_title: str = ""
    y_title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", _numbers(self.edges, 1, "edges of the histogram"))
        for series in self.series:
            _same_length(
                f"histogram {series.label!r}", bins=len(self.edges) - 1, values=len(series.values)
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Text in rows and columns; columns whose cells are all numbers are set to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(map(str, self.columns)))
        object.__setattr__(self, "rows", tuple(tuple(map(str, row)) for row in self.rows))
        for row in self.rows:
            _same_length("table row", columns=len(self.columns), cells=len(row))


Panel = Heatmap | Lines | Bars | Boxes | Points | Histogram | Table | Graph


@dataclass(frozen=True, kw_only=True, eq=False)
class FigureSpec:
    """A figure: panels in a grid of ``columns``, filled row by row.

    ``caption`` states method, model, n and interval. With ``shared_colour`` all heatmaps of one
    colour rule use one range and one colour bar. ``provenance`` goes into the file's metadata.

    Raises
        MechbenchError for a name that is not lower-case letters, digits and single hyphens.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 1
    shared_colour: bool = True
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise MechbenchError(
                f"The figure name {self.name!r} cannot be used in file names and LaTeX: use "
                "lower-case letters, digits and single hyphens, such as 'head-patching'."
            )
        object.__setattr__(self, "panels", tuple(self.panels))
        if not self.panels:
            raise ValueError(f"figure {self.name!r} has no panels")
        if self.columns < 1:
            raise ValueError(f"figure {self.name!r} needs at least one column")

    def to_json(self) -> str:
        """The whole spec as JSON text; :meth:`from_json` gives back a spec that draws the same."""
        from mechbench.figures.spec_json import spec_to_json

        return spec_to_json(self)

    @classmethod
    def from_json(cls, text: str) -> "FigureSpec":
        """The spec that was stored as ``text``.

        Raises
            StoreError where ``text`` is not such a spec.
        """
        from mechbench.figures.spec_json import spec_from_json

        return spec_from_json(text)
