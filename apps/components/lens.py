"""A logit lens as a table of tokens; a clicked cell tells its likeliest tokens and a rank's path.

Everything that a click shows is sent with the table, so that it is there before the server answers.
All text is set as text, never as markup.
"""

from collections.abc import Callable
from hashlib import sha256

import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.cell_colours import cell_colours
from mechbench.figures.lens_view import lens_map
from mechbench.results.lens_view import RANK, RESIDUAL, LensView
from mechbench.shapes import ANSWER, POSITION

_CSS = """
.box { font: 13px sans-serif; color: var(--st-text-color); }
.scroll { overflow-x: auto; }
table { position: relative; border-collapse: separate; border-spacing: 2px; }
th { font-weight: normal; padding: 2px 4px; }
th.row, th.corner { text-align: right; position: sticky; left: 0; z-index: 1;
  background: var(--st-background-color); white-space: nowrap; }
th.column.read .text { font-weight: bold; text-decoration: underline; }
.text { font: 12px monospace; white-space: pre; display: block; overflow: hidden;
  text-overflow: ellipsis; max-width: 7em; }
.small { font-size: 10px; display: block; }
.small.first { font-weight: bold; text-decoration: underline; }
td { text-align: center; padding: 2px 3px; min-width: 38px; cursor: pointer; border-radius: 2px; }
td.chosen { outline: 3px solid #D55E00; }
td:focus-visible { outline: 3px solid var(--st-primary-color); }
.word { min-height: 2.8em; padding: 6px 0; }
.more { display: flex; flex-wrap: wrap; gap: 28px; }
.more > div { flex: 1 1 300px; min-width: 0; }
.title { font-weight: bold; padding-bottom: 4px; }
ol { margin: 0; padding-left: 1.6em; max-width: 420px; }
li { padding: 2px 0; }
li > span { display: inline-block; vertical-align: middle; }
li > .text { display: inline-block; width: 11em; max-width: 11em; }
.room { width: 130px; margin-right: 8px; background: var(--st-secondary-background-color); }
.bar { display: block; height: 11px; background: #0072B2; }
svg { width: 100%; max-width: 560px; }
svg text { font: 11px sans-serif; fill: var(--st-text-color); }
.grid { stroke: var(--st-border-color); }
.here { stroke: var(--st-text-color); stroke-dasharray: 2 3; }
.answer, .control { fill: none; stroke-width: 2.5; }
.answer { stroke: #0072B2; }
.control { stroke: #D55E00; stroke-dasharray: 6 4; }
.dot { fill: #0072B2; }
"""
_HTML = """<div class="box"><div class="scroll"><table role="grid" aria-label="Logit lens. Arrow
keys move, Enter opens a cell."></table></div><div class="word" role="status" aria-live="polite">
</div><div class="more"><div><div class="title tops-title"></div><ol class="tops"></ol></div><div>
<div class="title path-title"></div><svg role="img"></svg></div></div></div>"""

_mount = component(
    "mechbench_lens",
    html=_HTML,
    css=_CSS,
    js=script("lens"),
)


def lens_table(
    result: LensView,
    *,
    key: str,
    answer: int,
    selected: tuple[str, int],
    on_cell: Callable[[], None],
) -> None:
    """Draws the table of ``result`` for its answer number ``answer``; ``selected`` is outlined."""
    streams = [str(label) for label in result.answer_rank[RESIDUAL].values]
    ranks, controls = (
        (values.isel({ANSWER: answer}).transpose(RESIDUAL, POSITION).values + 1).tolist()
        for values in (result.answer_rank, result.control_rank)
    )
    axes = (RESIDUAL, POSITION, RANK)
    tokens, probs = (
        values.transpose(*axes).values.tolist() for values in (result.top_token, result.top_prob)
    )
    shown = {
        "streams": streams,
        "tokens": [str(token) for token in result.tokens.values],
        "colours": cell_colours(lens_map(result), (0.0, 1.0)),
        "tops": [
            [list(zip(*cell, strict=True)) for cell in zip(*line, strict=True)]
            for line in zip(tokens, probs, strict=True)
        ],
        "ranks": ranks,
        "controls": controls,
        "answer": str(result.answers.values[answer]),
        "readAt": int(result.read_at.values[answer]),
    }
    name = sha256(repr(shown).encode()).hexdigest()
    row, col = streams.index(selected[0]), selected[1]
    _mount(key=key, data={"id": name, "selected": [row, col], **shown}, on_cell_change=on_cell)


def cell_now(key: str) -> tuple[str, int]:
    """The stream and the position of the cell that was clicked just now."""
    cell = st.session_state[key]["cell"]
    return str(cell["stream"]), int(cell["position"])
