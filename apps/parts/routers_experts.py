"""The part of the page Routers and experts about the load of experts and their knock-out."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.text import plain
from apps.components.heatmap import chosen, clickable
from apps.parts.routers import routers_step
from mechbench.figures.limits import colour_limits
from mechbench.figures.spec import FigureSpec, Heatmap

_MAP = "experts-map"
_VIEWS = {"layer": 0, "domain": 1, "class": 2}  # panels of the figure
_MERGED = (
    "This model merges experts: a segment's router mixes the parameters of all of them into one "
    "MLP, so no token chooses an expert. Load is an expert's weight in the mixture, and to knock "
    "it out is to leave it out of the mixture (Lory, Zhong et al. 2024)."
)


@st.fragment
def show_experts(model: str, task: dict[str, Any], *, merged: bool) -> None:
    """Load of the experts, and one of them knocked out; a click draws these alone again."""
    framed(lambda: _draw(model, task, merged))


def _draw(model: str, task: dict[str, Any], merged: bool) -> None:
    st.header("Load of the experts", anchor=False)
    if merged:
        st.info(plain(_MERGED))
    texts = _texts()
    spec = routers_step("Load of the experts", model, task, "expert_load", **texts)
    figure = answer_figure(spec)
    view = state.select(
        "Load by",
        state.Choice("view", list(_VIEWS), "layer"),
        help="layer: an expert's mean share of a token's weights. domain: on texts of each task "
        "of the common corpus (Zhong et al. 2024, section 5). class: on names, digits, "
        "punctuation and so on.",
    )
    panel = figure.panels[_VIEWS[view]]
    assert isinstance(panel, Heatmap)
    limits = colour_limits(figure)[_VIEWS[view]]
    at = _expert(figure)
    names = _names(figure)
    shown = None if at is None or view != "layer" else names[at]
    clickable(
        panel,
        limits,
        key=f"{_MAP}-{view}",
        selected=shown,
        on_choice=lambda: _keep_expert(panel, view),
    )
    st.caption(plain(f"Colours from {limits[0]:.3g} to {limits[1]:.3g}: {panel.value_title}."))
    if at is None:
        st.caption("Click a cell to take its expert out.")
    else:
        _knocked_out(model, task, texts, at)
    if state.toggle(
        "Show the load as a figure", state.Flag("loadfigure"), help="With caption and downloads."
    ):
        show_figure(figure, "load")
    show_copies(spec)
    if merged:
        _merged(model, task, texts)


def _texts() -> dict[str, Any]:
    """Which texts experts are looked at on."""
    left, right = st.columns(2)
    with left:
        on = state.select(
            "Texts",
            state.Choice("on", ("domains", "task"), "domains"),
            help="domains: texts of each task of the common corpus that the bundled models were "
            "trained on. task: the prompts chosen above, as one domain.",
        )
    with right:
        rows = state.number(
            "Texts of each domain",
            state.Whole("rows", 2, 16, 4),
            help="More give narrower intervals and take longer.",
        )
    return {"on": on, "rows": rows}


def _names(figure: FigureSpec) -> dict[str, tuple[int, int]]:
    """The cell of each expert in the panel by layer, by its name as layer.expert."""
    panel = figure.panels[_VIEWS["layer"]]
    assert isinstance(panel, Heatmap)
    return {
        f"{layer}.{expert}": (row, col)
        for row, layer in enumerate(panel.rows)
        for col, expert in enumerate(panel.cols)
    }


def _expert(figure: FigureSpec) -> str | None:
    """The expert in the address, as layer.expert; None where it has none."""
    return state.read(state.Choice("expert", list(_names(figure)), "")) or None


def _keep_expert(panel: Heatmap, view: str) -> None:
    cell = chosen(f"{_MAP}-{view}")
    if cell is not None:
        row, col = cell
        column = panel.cols[col]
        state.write(expert=f"{panel.rows[row]}.{column}" if view == "layer" else column)


def _knocked_out(model: str, task: dict[str, Any], texts: dict[str, Any], at: str) -> None:
    """What it does to take the chosen expert out."""
    layer, expert = (int(part) for part in at.split("."))
    title = f"Without expert {expert} of layer {layer}"
    params = {**texts, "layer": layer, "expert": expert}
    spec = routers_step(title, model, task, "expert_knockout", **params)
    show_figure(answer_figure(spec), f"without-{at}")
    show_copies(spec)


def _merged(model: str, task: dict[str, Any], texts: dict[str, Any]) -> None:
    if not state.toggle(
        "Show what experts are merged into",
        state.Flag("merged"),
        help="Distances of merged parameters to the experts, and how many a segment mixes.",
    ):
        return
    title = "What experts are merged into"
    spec = routers_step(title, model, task, "merged_experts", **texts)
    show_figure(answer_figure(spec), "merged")
    show_copies(spec)
