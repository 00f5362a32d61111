"""Figures that would be higher than a page are laid out more densely, and stay legible."""

from dataclasses import replace

import numpy as np
import pytest

from mechbench.figures.packing import in_grid, packed
from mechbench.figures.presets import PRESETS
from mechbench.figures.render_mpl import rendering, to_mpl
from mechbench.figures.spec import FigureSpec, Heatmap
from tests.figures.gallery import bars, big, heads, histogram, lens, lines, table

COLUMN, TEXT = PRESETS["column"], PRESETS["text"]


def _many(n_maps: int) -> FigureSpec:
    """Small heat maps with colour bars of their own, lines, bars and a table."""
    maps = tuple(
        Heatmap(
            values=np.random.default_rng(i).normal(size=(4, 4)),
            rows=tuple("0123"),
            cols=tuple("0123"),
            title=f"what ring {i} writes, by layer",
            x_title="ring",
            y_title="layer",
            value_title=f"change (unit {i})",
        )
        for i in range(n_maps)
    )
    others = (*lines().panels, *histogram().panels, *bars().panels, *table().panels)
    return FigureSpec(name="many", title="Many panels", caption="", panels=maps + others, columns=2)


def _laid_out(figure, n_panels):
    """The rows of panels as drawn, by their upper edges."""
    tops = [round(ax.get_position().y1, 3) for ax in figure.axes[:n_panels]]
    return [[i for i, top in enumerate(tops) if top == t] for t in dict.fromkeys(tops)]


def test_what_fits_keeps_the_grid_it_was_given():
    spec = _many(1)
    figure = to_mpl(spec, "text")
    assert _laid_out(figure, 7) == in_grid(spec, TEXT).rows == [[0, 1], [2, 3], [4, 5], [6]]


@pytest.mark.parametrize(("n_maps", "preset"), [(5, "column"), (7, "text")])
def test_many_panels_fit_on_a_page_in_their_order_without_overlap(n_maps, preset):
    spec = _many(n_maps)
    figure = to_mpl(spec, preset)
    assert figure.get_figwidth() == TEXT.width_in
    assert figure.get_figheight() <= TEXT.most_height_in
    places = [ax.get_position() for ax in figure.axes[: len(spec.panels)]]
    assert all(a.x0 < b.x0 or a.y0 > b.y0 for a, b in zip(places, places[1:], strict=False))
    with rendering():
        figure.draw_without_rendering()
        boxes = [ax.get_tightbbox().padded(-1.0) for ax in figure.axes]
        page = figure.bbox.padded(1.0)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 for b in boxes)


def test_rows_take_as_many_panels_as_there_is_room_for():
    assert packed(_many(8), TEXT).rows[:3] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    wide = replace(big(), panels=(*heads().panels, *big().panels, *lens().panels))
    assert packed(wide, COLUMN).rows == [[0], [1], [2]]
    assert [i for row in packed(_many(8), COLUMN).rows for i in row] == list(range(14))


def test_a_figure_that_no_width_brings_onto_a_page_keeps_the_width_asked_for():
    rows = tuple((str(i), "text") for i in range(90))
    spec = replace(table(), panels=(replace(table().panels[0], columns=("n", "t"), rows=rows),))
    figure = to_mpl(spec, "column")
    assert figure.get_figwidth() == COLUMN.width_in
    assert figure.get_figheight() > COLUMN.most_height_in
