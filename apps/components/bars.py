"""Ranked amounts with their intervals beside a control, as rows that can be clicked."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.results.ranking import Ranked

_CSS = """
.lines { font: 13px sans-serif; color: var(--st-text-color); max-height: 560px; overflow-y: auto; }
.line { box-sizing: border-box; display: flex; align-items: center; gap: 10px; width: 100%;
  padding: 3px 4px; border: none;
  background: none; font: inherit; color: inherit; text-align: left; border-radius: 3px; }
button.line { cursor: pointer; }
button.line:hover { background: var(--st-secondary-background-color); }
button.line:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: -3px; }
.name { width: 9em; flex: none; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
button .name { text-decoration: underline; }
.room { position: relative; height: 16px; flex: 1; min-width: 80px; }
.room > span { position: absolute; }
.bar { top: 2px; height: 12px; background: #B2182B; }
.bar.minus { background: #2166AC; }
.interval { top: 7px; height: 2px; background: var(--st-text-color); }
.control { top: 0; height: 16px; border-left: 3px solid #E69F00; }
.zero { top: 0; height: 16px; border-left: 1px solid var(--st-text-color); }
.number { width: 13.5em; flex: none; font-variant-numeric: tabular-nums; }
"""

_mount = component(
    "mechbench_bars",
    html='<div class="lines" role="group" aria-label="Components by the size of their part"></div>',
    css=_CSS,
    js=script("bars"),
)


def bars(
    rows: Sequence[Ranked],
    control: Mapping[str, float],
    *,
    key: str,
    opens: Mapping[str, str],
    on_row: Callable[[], None],
) -> None:
    """Draws a row for each of ``rows``; those in ``opens`` can be clicked, and say what they open.

    Args:
        control: by label, shown as a mark in the row.
    """
    _mount(
        key=key,
        data={
            "rows": [
                {**vars(row), "control": control[row.label], "opens": opens.get(row.label)}
                for row in rows
            ]
        },
        on_row_change=on_row,
    )


def row_now(key: str) -> str:
    """What the row that was clicked just now opens."""
    return str(st.session_state[key]["row"]["label"])
