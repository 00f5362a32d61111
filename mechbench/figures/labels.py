"""Labels that can always be drawn and never overlap, whichever renderer draws them."""

import math


def visible(text: str) -> str:
    """``text`` with characters that have no ink of their own (a newline, a tab) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def power_label(value: float) -> str:
    """A tick label of a logarithmic axis: 0.1, 10, 1000, then 10⁵."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    exponent = str(round(math.log10(value)))
    return "10" + exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def is_numeric(labels: tuple[str, ...]) -> bool:
    """True where every label is a whole number, so that a reader can fill in skipped ones."""
    return all(label.lstrip("-").isdigit() for label in labels)


def thinned(count: int, spacing: float, needed: float) -> list[int]:
    """Indices of the labels to show so that neighbours are ``needed`` apart, at round steps.

    ``spacing`` is the distance between neighbours if all were shown, in the same unit.
    """
    step = 1
    while step * spacing < needed and step < count:
        step = _next_round(step)
    return list(range(0, count, step))


def _next_round(step: int) -> int:
    digits = 10 ** (len(str(step)) - 1)
    leading = step // digits
    return digits * (2 if leading < 2 else 5 if leading < 5 else 10)
