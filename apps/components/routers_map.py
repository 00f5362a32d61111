"""Two prompts side by side, a row for each position and a column for each routed block.

Cells can be clicked, or reached with the arrow keys and Enter; hovering never asks the server. All
text is set as text, never as markup.
"""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.palette import NEGATIVE, SERIES
from mechbench.figures.tokens import shown_token
from mechbench.results.token_routes import RUN, TokenRoutes
from mechbench.shapes import LAYER, POSITION, PROMPT

_CSS = f"""
.box {{ font: 13px sans-serif; color: var(--st-text-color); }}
.scroll {{ max-height: 520px; overflow: auto; }}
.sides {{ display: flex; flex-wrap: wrap; gap: 28px; align-items: flex-start; }}
table {{ border-collapse: separate; border-spacing: 3px 2px; }}
caption {{ text-align: left; font-weight: 600; padding: 2px 0 4px; }}
th {{ position: sticky; top: 0; background: var(--st-background-color); font-weight: 600; }}
th, td {{ padding: 2px 6px; text-align: center; white-space: nowrap; }}
th .total {{ font-weight: 400; }}
td.token {{ text-align: left; font-family: monospace; max-width: 200px; overflow: hidden;
  text-overflow: ellipsis; }}
td.differs {{ text-decoration: underline 2px {SERIES[4]}; text-underline-offset: 3px; }}
td.cell {{ cursor: pointer; min-width: 54px; border: 1px solid {SERIES[5]}; border-radius: 3px; }}
td.through {{ background: {NEGATIVE}; color: #FFFFFF; border-color: {NEGATIVE}; }}
td.otherwise {{ border-color: {SERIES[4]}; box-shadow: 0 0 0 2px {SERIES[4]}; }}
td.selected {{ outline: 3px solid var(--st-text-color); outline-offset: 1px; }}
td.cell:focus {{ outline: 3px solid {SERIES[1]}; outline-offset: 1px; }}
.word {{ min-height: 1.5em; padding-top: 6px; }}
"""
_HTML = """<div class="box"><div class="scroll"><div class="sides"></div></div>
<div class="word" role="status" aria-live="polite"></div></div>"""

Side = tuple[str, int]  # which prompt of which pair
Place = tuple[int, int, int]  # side, row among the blocks, position

_mount = component(
    "mechbench_routers_map",
    html=_HTML,
    css=_CSS,
    js=script("routers_map"),
)


def routers_map(
    result: TokenRoutes,
    sides: Sequence[Side],
    *,
    key: str,
    selected: Place | None,
    on_choice: Callable[[], None],
) -> None:
    """Draws the prompts; ``chosen_place(key)`` says what was clicked."""
    _mount(
        key=key,
        data={
            "blocks": [int(layer) for layer in result.through[LAYER].values],
            "sides": [_side(result, run, prompt) for run, prompt in sides],
            "selected": list(selected) if selected else None,
        },
        default={"cell": None},
        on_cell_change=on_choice,
    )


def chosen_place(key: str) -> Place | None:
    """The side, the row among the blocks and the position that were clicked last."""
    cell = st.session_state.get(key, {}).get("cell")
    return (int(cell[0]), int(cell[1]), int(cell[2])) if cell else None


def _side(result: TokenRoutes, run: str, prompt: int) -> dict[str, Any]:
    at = {RUN: run, PROMPT: prompt}
    through = result.through.sel(at).transpose(LAYER, POSITION)
    return {
        "title": f"{run} prompt {prompt}",
        "tokens": [shown_token(token) for token in result.tokens.sel(at).values],
        "through": through.values.tolist(),
        "weights": result.weights.sel(at).transpose(LAYER, POSITION).values.tolist(),
        "perBlock": result.n_tokens.sel(at).values.tolist(),
        "perToken": result.n_blocks.sel(at).values.tolist(),
    }
