"""Both renderers show the values, limits and labels of the spec, and so agree with each other."""

import dataclasses
import warnings
from html import unescape

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mechbench.errors import MechbenchError
from mechbench.figures.labels import visible
from mechbench.figures.limits import colour_limits, x_limits, y_limits
from mechbench.figures.mpl_text import drawable
from mechbench.figures.presets import PRESETS
from mechbench.figures.render_mpl import rendering, to_mpl
from mechbench.figures.render_plotly import to_plotly
from mechbench.figures.spec import Diverging, FigureSpec, Heatmap, Lines, Sequential, Table
from tests.figures.gallery import AWKWARD, SPECS, bars, boxes, heads, histogram, lens, lines, points

ONE_HEATMAP = {"heads": heads, "lens": lens}


def _mesh(figure: Figure, axes: int = 0) -> QuadMesh:
    return next(c for c in figure.axes[axes].collections if isinstance(c, QuadMesh))


def _ticks(axis) -> dict[float, str]:
    return dict(
        zip(axis.get_ticklocs(), [t.get_text() for t in axis.get_ticklabels()], strict=True)
    )


@pytest.mark.parametrize("name", ONE_HEATMAP)
def test_heatmaps_agree_on_values_limits_and_colours(name):
    spec = ONE_HEATMAP[name]()
    panel = spec.panels[0]
    mesh, trace = _mesh(to_mpl(spec, "text")), to_plotly(spec).data[0]
    drawn = np.ma.filled(mesh.get_array().reshape(panel.values.shape), np.nan)
    np.testing.assert_array_equal(drawn, panel.values)
    np.testing.assert_array_equal(np.asarray(trace.z, dtype=float), panel.values)
    assert mesh.get_clim() == (trace.zmin, trace.zmax) == colour_limits(spec)[0]
    ours = [to_hex(mesh.cmap(place)) for place, _ in trace.colorscale]
    theirs = [_hex(colour) for _, colour in trace.colorscale]
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(_rgb(a) - _rgb(b)).max() <= 6


def _hex(colour: str) -> str:
    if colour.startswith("#"):
        return colour.lower()
    return to_hex([int(v) / 255 for v in colour.removeprefix("rgb(").removesuffix(")").split(",")])


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])


@pytest.mark.parametrize("name", ONE_HEATMAP)
def test_heatmaps_agree_on_labels_and_direction(name):
    spec = ONE_HEATMAP[name]()
    panel = spec.panels[0]
    ax, layout = to_mpl(spec, "text").axes[0], to_plotly(spec).layout
    for ours, theirs, labels, title in (
        (ax.xaxis, layout.xaxis, panel.cols, panel.x_title),
        (ax.yaxis, layout.yaxis, panel.rows, panel.y_title),
    ):
        assert _ticks(ours) == {k: drawable(t) for k, t in enumerate(labels)}
        assert list(theirs.tickvals) == list(range(len(labels)))
        assert [unescape(t).strip() for t in theirs.ticktext] == [
            visible(t).strip() for t in labels
        ]
        assert ours.label.get_text() == theirs.title.text == title
    assert ax.get_xlim() == tuple(layout.xaxis.range)
    assert ax.get_ylim() == tuple(layout.yaxis.range)
    assert (ax.get_ylim()[0] < ax.get_ylim()[1]) == (panel.first_row == "bottom")


def test_marked_and_missing_cells_are_drawn_by_both():
    spec = heads()
    panel = spec.panels[0]
    ax, figure = to_mpl(spec).axes[0], to_plotly(spec)
    corners = {(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in ax.patches}
    outlines = {(s.y0 + 0.5, s.x0 + 0.5) for s in figure.layout.shapes if s.layer != "below"}
    assert corners == outlines == set(panel.marked) != set()
    assert ax.patch.get_hatch() and sum(s.layer == "below" for s in figure.layout.shapes) == 1
    assert np.isnan(np.asarray(figure.data[0].z, dtype=float)).sum() == 1


def test_cell_text_is_the_same_and_is_never_markup():
    spec = lens()
    panel = spec.panels[0]
    ax, trace = to_mpl(spec, "text").axes[0], to_plotly(spec).data[0]
    ours = [t.get_text() for t in ax.texts]
    assert ours == [drawable(t) for row in panel.cell_text for t in row]
    assert not any(t.get_parse_math() for t in [*ax.texts, *ax.get_xticklabels()])
    theirs = [t for row in trace.text for t in row]
    assert [unescape(t).strip() for t in theirs] == [
        visible(t).strip() for row in panel.cell_text for t in row
    ]
    assert not any("<" in t for t in theirs)


def test_characters_without_a_glyph_become_escapes():
    assert [drawable(t) for t in ("中", "\n", "é", "𐀀", "a b")] == [
        "\\u4e2d",
        "\\n",
        "é",
        "\\U00010000",
        "a b",
    ]


def test_lines_agree():
    spec = lines()
    axes, figure = to_mpl(spec, "text").axes, to_plotly(spec)
    traces = [t for t in figure.data if t.mode != "lines" or t.hovertemplate]
    curves = [s for p in spec.panels for s in p.series]
    drawn = [line for ax in axes[:2] for line in ax.lines if len(line.get_xdata()) > 2]
    for series, line, trace in zip(curves, drawn, traces, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), series.values)
        np.testing.assert_array_equal(trace.y, series.values)
        assert to_hex(line.get_color()).lower() == trace.line.color.lower()
    np.testing.assert_array_equal(figure.data[0].y, spec.panels[0].series[0].low)
    np.testing.assert_array_equal(figure.data[1].y, spec.panels[0].series[0].high)
    assert axes[0].get_xlim() == tuple(figure.layout.xaxis.range) == x_limits(spec.panels[0])
    assert axes[0].get_ylim() == tuple(figure.layout.yaxis.range) == y_limits(spec.panels[0])
    assert axes[1].get_xscale() == figure.layout.xaxis2.type == "log"
    np.testing.assert_allclose(np.log10(axes[1].get_xlim()), figure.layout.xaxis2.range)
    legend = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert legend == [t.name for t in figure.data if t.showlegend]
    assert legend == ["circuit by sweep order", "random heads", "all but the circuit", "full model"]


def test_bars_agree():
    spec = bars()
    panel = spec.panels[0]
    ax, figure = to_mpl(spec, "text").axes[0], to_plotly(spec)
    for series, ours, theirs in zip(panel.series, ax.containers, figure.data, strict=False):
        np.testing.assert_array_equal([b.get_height() for b in ours], series.values)
        np.testing.assert_array_equal(theirs.y, series.values)
        np.testing.assert_allclose([b.get_x() + b.get_width() / 2 for b in ours], theirs.x)
        np.testing.assert_allclose(theirs.y + theirs.error_y.array, series.high)
        np.testing.assert_allclose(theirs.y - theirs.error_y.arrayminus, series.low)
    assert list(_ticks(ax.xaxis).values()) == list(figure.layout.xaxis.ticktext)
    assert ax.get_ylim() == tuple(figure.layout.yaxis.range)


def test_boxes_agree():
    spec = boxes()
    panel = spec.panels[0]
    ax, figure = to_mpl(spec, "text").axes[0], to_plotly(spec)
    medians = [c for c in ax.collections if len(c.get_segments()) and c.get_linewidth()[0] == 1.2]
    for series, ours, median, theirs in zip(
        panel.series, ax.containers, medians, figure.data, strict=False
    ):
        there = np.isfinite(series.values)
        np.testing.assert_array_equal([b.get_y() for b in ours], series.q1)
        np.testing.assert_allclose([b.get_height() for b in ours], series.q3 - series.q1)
        drawn = [s[0, 1] for s in median.get_segments() if s.ndim == 2]
        np.testing.assert_array_equal(drawn, series.values[there])
        for name, values in (
            ("lowerfence", series.low),
            ("q1", series.q1),
            ("median", series.values),
            ("q3", series.q3),
            ("upperfence", series.high),
        ):
            np.testing.assert_array_equal(getattr(theirs, name), values[there])
        middles = np.array([b.get_x() + b.get_width() / 2 for b in ours])
        np.testing.assert_allclose(middles[there], theirs.x)
    assert len(medians) == 2 and len(figure.data) >= 2
    assert ax.get_ylim() == tuple(figure.layout.yaxis.range)


def test_points_and_their_names_agree():
    spec = points()
    panel = spec.panels[0]
    ax, figure = to_mpl(spec).axes[0], to_plotly(spec)
    clouds = [line for line in ax.lines if line.get_linestyle() == "None"]
    for ours, theirs in zip(clouds, [t for t in figure.data if "markers" in t.mode], strict=True):
        np.testing.assert_array_equal(ours.get_xdata(), theirs.x)
        np.testing.assert_array_equal(ours.get_ydata(), theirs.y)
    names = {panel.labels[k] for k in panel.named}
    assert {t.get_text() for t in ax.texts} == names
    assert {t for trace in figure.data for t in (trace.text or ()) if t} == names
    legend = {t.get_text() for t in ax.get_legend().get_texts()}
    assert legend == {t.name for t in figure.data if t.showlegend} >= {"_previous", "mover"}


def test_histograms_agree():
    spec = histogram()
    panel = spec.panels[0]
    ax, figure = to_mpl(spec, "text").axes[0], to_plotly(spec)
    outlines = [p for p in ax.patches if not p.get_fill()]
    for series, ours, theirs in zip(panel.series, outlines, figure.data, strict=False):
        np.testing.assert_array_equal(ours.get_data().values, series.values)
        np.testing.assert_array_equal(theirs.y, series.values)
        np.testing.assert_allclose(np.asarray(theirs.x) - theirs.width / 2, panel.edges[:-1])
    assert ax.get_ylim() == tuple(figure.layout.yaxis.range) and ax.get_ylim()[0] == 0


def test_shared_colours_use_the_widest_range_and_one_bar():
    maps = [Heatmap(values=[[v]], rows=("r",), cols=("c",)) for v in (1.0, -3.0)]
    spec = FigureSpec(name="two", title="", caption="", panels=tuple(maps), columns=2)
    assert colour_limits(spec) == {0: (-3.0, 3.0), 1: (-3.0, 3.0)}
    assert len(to_mpl(spec).axes) == 3
    assert [t.showscale for t in to_plotly(spec).data] == [True, False]
    apart = FigureSpec(
        name="two", title="", caption="", panels=tuple(maps), columns=2, shared_colour=False
    )
    assert colour_limits(apart) == {0: (-1.0, 1.0), 1: (-3.0, 3.0)}
    assert len(to_mpl(apart).axes) == 4


@pytest.mark.parametrize("values", [[[np.nan, np.nan]], [[0.0, 0.0]], [[np.inf, 1.0]]])
@pytest.mark.parametrize("colour", [Diverging(), Sequential()])
def test_degenerate_heatmaps_are_drawn(values, colour):
    panel = Heatmap(values=values, rows=("a",), cols=("b", "b"), colour=colour)
    spec = FigureSpec(name="odd", title="", caption="", panels=(panel,))
    low, high = _mesh(to_mpl(spec)).get_clim()
    assert np.isfinite([low, high]).all() and low < high
    assert (to_plotly(spec).data[0].zmin, to_plotly(spec).data[0].zmax) == (low, high)


def test_zero_is_the_middle_of_a_diverging_map():
    mesh = _mesh(to_mpl(heads()))
    assert mesh.cmap.name == "RdBu_r" and mesh.norm(0.0) == 0.5
    assert _rgb(to_hex(colormaps["RdBu_r"](0.5))).min() > 240


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", SPECS)
def test_nothing_is_cut_or_overlaps(name, preset):
    spec = SPECS[name]()
    figure = to_mpl(spec, preset)
    width = "text" if name == "mixed" else preset  # in a column it would not fit on a page
    assert figure.get_figwidth() == PRESETS[width].width_in
    with rendering():
        figure.draw_without_rendering()
        page = figure.bbox.padded(1.0)
        for ax in figure.axes:
            box = ax.get_tightbbox()
            assert page.x0 <= box.x0 and page.y0 <= box.y0
            assert box.x1 <= page.x1 and box.y1 <= page.y1
            for axis in (ax.xaxis, ax.yaxis):
                shown = [t for t in axis.get_ticklabels() if t.get_text() and t.get_visible()]
                boxes = [t.get_window_extent() for t in shown] if ax.axison else []
                assert not any(a.overlaps(b) for a, b in zip(boxes, boxes[1:], strict=False))
            legend = ax.get_legend()
            if legend is not None:
                assert legend.get_window_extent().y0 >= ax.get_window_extent().y1 - 1.0
        panels = [a.get_tightbbox() for a in figure.axes]
        assert not any(
            a.padded(-1.0).overlaps(b.padded(-1.0))
            for i, a in enumerate(panels)
            for b in panels[i + 1 :]
        )


def test_text_sizes_are_those_of_the_preset():
    ax = to_mpl(heads(), "column").axes[0]
    assert {t.get_size() for t in ax.get_xticklabels()} == {7.0}
    assert ax.xaxis.label.get_size() == 8.0
    tokens = to_mpl(lens(), "column").axes[0].get_xticklabels()
    assert {t.get_size() for t in tokens} == {6.0}


def test_the_users_matplotlib_settings_neither_matter_nor_change():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "image.cmap": "jet", "text.parse_math": True}):
        before = dict(matplotlib.rcParams)
        figure = to_mpl(heads())
        assert dict(matplotlib.rcParams) == before
    assert figure.get_figheight() == to_mpl(heads()).get_figheight()


def test_rendering_loads_no_pyplot_and_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, mechbench.figures.export as e, mechbench.figures.render_plotly as p\n"
        "import mechbench.figures.render_mpl as m\n"
        "from tests.figures.gallery import heads\n"
        "m.to_mpl(heads()); p.to_plotly(heads())\n"
        "print([n for n in ('torch', 'matplotlib.pyplot', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_draw_at_the_same_time_without_mixing():
    from concurrent.futures import ThreadPoolExecutor

    specs = [heads(), lens(), bars(), points()]
    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        titles = list(pool.map(lambda s: len(to_mpl(s).axes[0].get_xticklabels()), specs))
    assert titles == [len(to_mpl(s).axes[0].get_xticklabels()) for s in specs]


def test_hover_titles_cannot_inject_placeholders():
    panel = Lines(x=[0.0, 1.0], series=(), x_title="%{y}", y_title="<b>")
    assert AWKWARD[0] == "<b>x</b>"
    heat = Heatmap(values=[[1.0]], rows=("a",), cols=("b",), x_title="%{z}", y_title="<i>")
    spec = FigureSpec(name="h", title="<b>", caption="", panels=(heat, panel))
    figure = to_plotly(spec)
    assert "%&#123;z}" in figure.data[0].hovertemplate
    assert "<i>" not in figure.data[0].hovertemplate
    assert figure.layout.title.text == "&lt;b&gt;"


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(MechbenchError, match="'colunm'.*'column'.*column, text"):
        to_mpl(heads(), "colunm")


def test_plotly_titles_stand_above_the_legends_of_their_panels():
    layout = to_plotly(SPECS["mixed"]()).layout
    shifts = [a.yshift for a in layout.annotations if a.yshift is not None]
    assert len(shifts) == 7 and shifts[0] < shifts[3] < shifts[2]
    assert layout.legend3.yanchor == "bottom" and layout.legend3.y == layout.yaxis3.domain[1]


def test_very_many_cells_are_drawn_as_one_image():
    def rasterised(side: int) -> bool:
        labels = tuple(map(str, range(side)))
        panel = Heatmap(values=np.zeros((side, side)), rows=labels, cols=labels)
        figure = to_mpl(FigureSpec(name="many", title="", caption="", panels=(panel,)))
        return bool(_mesh(figure).get_rasterized())

    assert not rasterised(100) and rasterised(230)


def test_a_table_stands_beside_lines_with_a_reference_and_its_columns_fit_their_text():
    curve = next(panel for panel in lines().panels if panel.references)
    table = Table(columns=("head", "role"), rows=(("1.6", "letter mover"), ("1.2", "propagator")))
    spec = dataclasses.replace(lines(), panels=(table, curve), columns=1)
    figure = to_plotly(spec)
    assert [shape.y0 for shape in figure.layout.shapes] == [curve.references[0].value]
    narrow, wide = figure.data[0].columnwidth
    assert wide > 2 * narrow
    to_mpl(spec, "text")
