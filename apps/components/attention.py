"""The attention of a layer's heads on a prompt's tokens; hovering never asks the server.

Tokens are buttons: hovering or focusing one colours what it looks at, a click pins it. All text is
set as text, never as markup.
"""

from collections.abc import Callable
from hashlib import sha256

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from apps.components.scripts import script
from mechbench.figures.cell_colours import cell_colours
from mechbench.figures.evidence import shares
from mechbench.figures.spec import Heatmap
from mechbench.results.attention_view import AttentionView

_CSS = """
.box { font: 14px sans-serif; color: var(--st-text-color); }
button { font: inherit; cursor: pointer; }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
.tokens { display: flex; flex-wrap: wrap; gap: 4px; }
.token { border: 2px solid var(--st-border-color); border-radius: 4px; padding: 2px 6px;
  display: flex; flex-direction: column; align-items: center; min-width: 2em; max-width: 16em; }
.token .text { font: 14px monospace; white-space: pre; overflow: hidden; text-overflow: ellipsis;
  max-width: 100%; }
.token .weight { font-size: 11px; min-height: 1.2em; }
.token.query { border-color: #D55E00; }
.token.pinned { border-style: double; border-width: 4px; padding: 0 4px; }
.token.unseen { opacity: 0.45; }
.word { min-height: 2.6em; padding: 8px 0; }
.heads { display: flex; flex-wrap: wrap; gap: 10px; }
.head { background: none; color: inherit; border: 3px solid transparent; border-radius: 4px;
  padding: 3px; display: flex; flex-direction: column; align-items: center; }
.head.chosen { border-color: #D55E00; }
.map { width: 108px; height: 108px; image-rendering: pixelated;
  border: 1px solid var(--st-border-color); }
"""
_HTML = """<div class="box"><div class="tokens" role="group" aria-label="Tokens of the prompt">
</div><div class="word" role="status" aria-live="polite"></div>
<div class="heads" role="group" aria-label="Heads of this layer"></div></div>"""

_mount = component(
    "mechbench_attention",
    html=_HTML,
    css=_CSS,
    js=script("attention"),
)


def attention_tokens(
    result: AttentionView,
    *,
    key: str,
    head: str,
    pinned: int | None,
    on_pin: Callable[[], None],
    on_head: Callable[[], None],
) -> None:
    """Draws the tokens and the heads of the layer, of which ``head`` is the chosen one."""
    patterns = np.round(result.pattern.values.astype(float), 3).tolist()
    tokens = [str(token) for token in result.tokens.values]
    _mount(
        key=key,
        data={
            "id": sha256(repr((tokens, patterns)).encode()).hexdigest(),
            "tokens": tokens,
            "patterns": patterns,
            "heads": list(result.heads),
            "chosen": result.heads.index(head),
            "pinned": pinned,
            "palette": _palette(),
        },
        on_pin_change=on_pin,
        on_head_change=on_head,
    )


def pinned_now(key: str) -> int | None:
    """The token that was pinned just now; None where the pin was taken out."""
    at = st.session_state[key]["pin"]["at"]
    return None if at is None else int(at)


def head_now(key: str) -> str:
    """The head that was clicked just now."""
    return str(st.session_state[key]["head"]["label"])


@st.cache_data(show_spinner=False)
def _palette() -> list[str]:
    """The colours of weights 0, 0.01, ..., 1, as figures of attention have them."""
    steps = np.linspace(0, 1, 101)[None]
    ramp = Heatmap(values=steps, rows=("",), cols=("",) * steps.size, colour=shares())
    return cell_colours(ramp, (0.0, 1.0))[0]
