"""Figures for LaTeX: escaped captions, and a file that includes all of them."""

import unicodedata
from collections.abc import Sequence

from mechbench.figures.presets import PRESETS
from mechbench.figures.spec import FigureSpec

_PLAIN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
}
_MATH = {
    "→": "rightarrow",
    "←": "leftarrow",
    "↑": "uparrow",
    "↓": "downarrow",
    "↔": "leftrightarrow",
    "×": "times",
    "·": "cdot",
    "±": "pm",
    "≤": "leq",
    "≥": "geq",
    "≠": "neq",
    "≈": "approx",
    "∞": "infty",
    "∂": "partial",
    "∈": "in",
    "√": "surd",
    "¬": "neg",
    "µ": "mu",
}
_LIGATURES = {("-", "-"), ("`", "`"), ("'", "'"), ("!", "`"), ("?", "`")}  # of LaTeX' own fonts
# Capitals that look like Latin ones have no command of their own.
_GREEK = {
    chr(code): unicodedata.name(chr(code)).rsplit(" ", 1)[1].lower()
    for code in (*range(0x3B1, 0x3C2), *range(0x3C3, 0x3CA))
    if chr(code) != "ο"
} | {c: unicodedata.name(c).rsplit(" ", 1)[1].capitalize() for c in "ΓΔΘΞΠΣΦΨΩ"}
_GREEK |= {"λ": "lambda", "Λ": "Lambda"}  # Unicode spells it lamda


def escaped(text: str) -> str:
    r"""``text`` for the running text of a LaTeX document in UTF-8, on one line.

    Arrows, Greek letters and signs become mathematics. A character that LaTeX' own fonts lack
    (CJK, emoji) is written as ``\u4e2d``, as in the figures themselves.
    """
    line = " ".join(text.split())
    apart = ("{}" if pair in _LIGATURES else "" for pair in zip(" " + line, line, strict=False))
    return "".join(a + _escaped_character(c) for a, c in zip(apart, line, strict=True))


def figures_tex(figures: Sequence[tuple[FigureSpec, float]], folder: str) -> str:
    """A file to ``\\input``: each (figure, width in inches) as a float with caption and label.

    What is wider than a column stands above both. ``folder`` is that of the PDF files, seen from
    the document.
    """
    head = (
        "% Needs \\usepackage{graphicx}. Figures have the size in which they were drawn, so that\n"
        "% their text is as large as it should be. Refer to one by \\ref{fig:NAME}.\n"
    )
    return head + "".join(_float(figure, width_in, folder) for figure, width_in in figures)


def _float(figure: FigureSpec, width_in: float, folder: str) -> str:
    wide = "*" if width_in > PRESETS["column"].width_in else ""
    return (
        f"\n\\begin{{figure{wide}}}[tbp]\n"
        "  \\centering\n"
        f"  \\includegraphics{{{folder}/{figure.name}.pdf}}\n"
        f"  \\caption{{{escaped(figure.caption)}}}\n"
        f"  \\label{{fig:{figure.name}}}\n"
        f"\\end{{figure{wide}}}\n"
    )


def _escaped_character(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    name = _MATH.get(character) or _GREEK.get(character)
    if name is not None:
        return rf"\(\{name}\)"
    if character == "−":
        return r"\(-\)"
    if " " <= character <= "~" or _is_latin_letter(character):
        return character
    return escaped(character.encode("unicode_escape").decode())


def _is_latin_letter(character: str) -> bool:
    return "\u00c0" <= character <= "\u017e" and unicodedata.name(character, "").startswith("LATIN")
