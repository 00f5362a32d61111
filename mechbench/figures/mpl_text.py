"""Text for matplotlib: measured in points, wrapped, and free of glyphs that the font lacks."""

from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font, LoadFlags

from mechbench.figures.labels import visible

FONT = "DejaVu Sans"  # shipped with matplotlib, so figures look the same on every machine


@cache
def _font() -> FT2Font:
    return FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())


def drawable(text: str) -> str:
    r"""``text`` with every character that the font lacks (CJK, emoji) as ``\uXXXX``."""
    return "".join(
        c if ord(c) in _glyphs() else c.encode("unicode_escape").decode() for c in visible(text)
    )


@lru_cache(maxsize=8192)
def width_pt(text: str, size: float) -> float:
    """Width of one line of ``text`` in points at font size ``size``."""
    font = _font()
    font.set_size(size, 72)
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return font.get_width_height()[0] / 64


def wrapped(text: str, limit: float, size: float) -> str:
    """Drawable ``text`` broken at spaces into lines of at most ``limit`` points where possible."""
    lines: list[str] = []
    for word in drawable(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_pt(longer, size) <= limit:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def shortened(text: str, limit: float, size: float) -> str:
    """Drawable ``text``, cut with an ellipsis where it is wider than ``limit`` points."""
    text = drawable(text)
    if width_pt(text, size) <= limit:
        return text
    while text and width_pt(text + "…", size) > limit:
        text = text[:-1]
    return text + "…"
