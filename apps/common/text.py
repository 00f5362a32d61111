"""Text of users and tokens, shown as it is written."""

import re

_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&])")


def plain(text: str) -> str:
    """``text`` for a place that reads Markdown: every mark is escaped, so that none is read."""
    return _MARKS.sub(r"\\\1", text.replace("\n", " "))


def duration(seconds: float) -> str:
    """A duration in words that suit its length."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(nbytes: int) -> str:
    """An amount of memory."""
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


def three_digits(value: float) -> str:
    """A number with three decimals; what rounds to zero has no sign."""
    return f"{round(float(value), 3) + 0.0:.3f}"
