"""Pairs of prompts as rows of chips, one a token; those that differ stand on a coloured ground."""

from collections.abc import Sequence
from typing import Any, TypedDict

from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.tokens import shown_token

_CSS = """
.chips { font: 13px sans-serif; color: var(--st-text-color); }
.pair { padding: 8px 0; border-bottom: 1px solid var(--st-border-color); }
.about { font-weight: 600; }
.scroll { overflow-x: auto; }
th { text-align: left; font-weight: normal; padding: 2px 8px 2px 0; }
td { padding: 2px 2px; text-align: center; }
.numbers { font-size: 11px; opacity: 0.75; }
.chip { white-space: pre; font-family: monospace; padding: 1px 4px; border-radius: 3px;
  border: 1px solid var(--st-border-color); display: inline-block; }
.differs { background: #F5D5A0; color: #000000; font-weight: 600; }
.line { padding-top: 2px; }
"""

_mount = component(
    "mechbench_chips",
    html='<div class="chips"></div>',
    css=_CSS,
    js=script("chips"),
)


class Chips(TypedDict):
    """One pair: a heading, the chips of both prompts, and lines below them."""

    about: str
    clean: list[str]
    corrupted: list[str]
    lines: list[str]


def chips(pairs: Sequence[Chips], *, key: str) -> None:
    """Draws the pairs, one below the other."""
    _mount(key=key, data={"pairs": list(pairs)})


def chip(token: Any) -> str:
    """A token as a chip shows it: a space as ·, what cannot be printed as its escape."""
    text = shown_token(str(token))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
