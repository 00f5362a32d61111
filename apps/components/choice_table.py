"""A table of value vectors in which rows are ticked to be edited; sorted in the browser.

All text, tokens among it, is set as text, never as markup; every tick is reached by the keyboard.
"""

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.spec import Table

_CSS = """
.box { max-height: 420px; overflow: auto; border: 1px solid var(--st-border-color); }
table { border-collapse: collapse; width: 100%; font: 13px var(--st-font, sans-serif); }
table { color: var(--st-text-color); }
th, td { text-align: left; padding: 4px 8px; white-space: nowrap; }
td { border-top: 1px solid var(--st-border-color); }
th { position: sticky; top: 0; background: var(--st-secondary-background-color); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible, input:focus-visible { outline: 2px solid var(--st-primary-color); }
th[aria-sort="descending"] button::after { content: " \\2193"; }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
td:last-child { white-space: normal; width: 40%; }
tbody tr { cursor: pointer; }
tbody tr.chosen { background: var(--st-secondary-background-color); }
tbody tr.chosen td:nth-child(2) { font-weight: 600; }
"""
_HTML = '<div class="box"><table><thead></thead><tbody></tbody></table></div>'
_HELP = {
    "neuron": "layer.neuron",
    "found": "Whether it is kept in enough of the prompts to count as found.",
    "kept": "Share of prompts in which it is large and its lens gap is above the threshold.",
    "lens gap": "First minus right label, in logits, if it were all of the final stream.",
    "direct gap": "Its part of the run's own first minus right label, in logits; parts add up.",
    "activation": "The coefficient of its value vector at the last position.",
    "norm": "Length of its value vector.",
    "promoted tokens": "Tokens that its value vector raises most.",
}

_mount = component(
    "mechbench_choice_table",
    html=_HTML,
    css=_CSS,
    js=script("choice_table"),
)


def tickable(
    numbers: Table,
    tokens: Table,
    *,
    key: str,
    selected: Sequence[str],
    most: int,
    on_choice: Callable[[], None],
) -> None:
    """Draws both tables of neurons as one; ``ticked(key)`` says which rows are chosen."""
    said = {row[0]: row[1:] for row in tokens.rows}
    columns = [*numbers.columns, *tokens.columns[1:]]
    _mount(
        key=key,
        data={
            "columns": columns,
            "help": [_HELP.get(name, "") for name in columns],
            "rows": [[*row, *said[row[0]]] for row in numbers.rows],
            "selected": list(selected),
            "most": most,
        },
        default={"edits": list(selected)},
        on_edits_change=on_choice,
    )


def ticked(key: str) -> tuple[str, ...]:
    """The neurons whose rows were ticked last, and those chosen before that have no row."""
    return tuple(str(name) for name in st.session_state.get(key, {}).get("edits") or ())
