"""Colours of cells agree with the colour map that both renderers use."""

import matplotlib
import numpy as np

from mechbench.figures import palette
from mechbench.figures.cell_colours import cell_colours
from mechbench.figures.spec import Heatmap


def test_ends_middle_and_missing_cells():
    values = np.array([[-2.0, 0.0, 2.0], [np.nan, 5.0, -1.0]])
    panel = Heatmap(values=values, rows=("a", "b"), cols=("c", "d", "e"))
    colours = cell_colours(panel, (-2.0, 2.0))
    assert colours[1][0] == palette.MISSING_FACE and colours[1][1] == colours[0][2]
    shades = matplotlib.colormaps["RdBu_r"]
    for (row, col), place in {(0, 0): 0.0, (0, 1): 0.5, (0, 2): 1.0, (1, 2): 0.25}.items():
        text = colours[row][col]
        found = [int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        np.testing.assert_allclose(found, shades(place)[:3], atol=0.02)


def test_equal_limits_are_a_colour():
    panel = Heatmap(values=np.zeros((1, 1)), rows=("a",), cols=("b",))
    assert cell_colours(panel, (0.0, 0.0))[0][0].startswith("#")
