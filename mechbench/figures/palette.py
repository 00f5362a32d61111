"""Colours and marks, the same in both renderers, safe for colour-blind readers."""

from mechbench.figures.spec import Diverging, Sequential

# Okabe and Ito (2008), "Color Universal Design"; black last, for it is also the colour of text.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("X", "x"),
    ("P", "cross"),
    ("p", "pentagon"),
)
MISSING_FACE, MISSING_HATCH = "#ECECEC", "#B5B5B5"
GREY, LIGHT_GREY = "#666666", "#DDDDDD"


def series_colour(index: int) -> str:
    """The colour of the series at ``index``; colours repeat after eight."""
    return SERIES[index % len(SERIES)]


def colour_map(colour: Diverging | Sequential) -> str:
    """The colour map's name, which matplotlib and plotly share."""
    if isinstance(colour, Diverging):
        return "RdBu_r"
    return {"blues": "Blues", "cividis": "cividis"}[colour.palette]
