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
SOLID: tuple[float, ...] = ()
DASHED, DOTTED, DASH_DOT = (3.5, 1.5), (1.0, 1.2), (5.0, 1.2, 1.0, 1.2)  # on and off, points
POSITIVE, NEGATIVE = "#B2182B", "#2166AC"  # near the ends of RdBu_r
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


def sign_colour(score: float) -> str:
    """The colour of a signed amount where its size is shown by something else."""
    return POSITIVE if score > 0 else NEGATIVE if score < 0 else GREY


def tint(colour: str, strength: float) -> str:
    """``colour`` mixed with white; 0 is white, 1 the colour itself."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * strength):02X}" for part in parts)
