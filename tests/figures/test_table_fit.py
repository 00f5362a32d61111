"""A table's text stays within the table, however narrow its neighbours make it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mechbench.figures.render_mpl import to_mpl
from mechbench.figures.spec import FigureSpec, Heatmap, Table

LONG = "a rather long label that takes room"


@pytest.mark.parametrize("preset", ["text", "column"])
def test_text_is_cut_to_the_width_that_is_left(preset):
    heat = Heatmap(values=np.eye(2), rows=(LONG, LONG[::-1]), cols=("a", "b"), value_title="value")
    row = ("attended 1+", "near stop place hand more than any table has room for, by far")
    table = Table(columns=("end", "tokens"), rows=(row, row))
    figure = to_mpl(
        FigureSpec(
            name="fit", title="Fit", caption="", panels=(heat, heat, table, table), columns=2
        ),
        preset,
    )
    try:
        figure.draw_without_rendering()
        tables = [ax for ax in figure.axes if any(t.get_text() == "end" for t in ax.texts)]
        assert len(tables) == 2
        for ax in tables:
            room = ax.get_window_extent()
            boxes = [text.get_window_extent() for text in ax.texts]
            assert min(b.x0 for b in boxes) >= room.x0 - 1
            assert max(b.x1 for b in boxes) <= room.x1 + 1
            for first, second in zip(boxes[::2], boxes[1::2], strict=True):
                assert first.x1 <= second.x0
            assert room.width > 0.2 * figure.bbox.width
    finally:
        plt.close(figure)
