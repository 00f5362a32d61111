"""The part of the page Routers and experts about tokens that go through or past a block."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.text import plain
from apps.components.routers_map import Place, chosen_place, routers_map
from apps.parts.routers import MODES, RANDOM, THRESHOLD, TOPK, routers_step
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.token_routes import token_routes_figure
from mechbench.results.token_routes import RUNS, TokenRoutes
from mechbench.shapes import LAYER, POSITION, PROMPT

_MAP = "routes-map"
_WAYS = ("other", "through", "past")


@st.fragment
def show_routes(model: str, task: dict[str, Any], blocks: tuple[int, ...]) -> None:
    """Map of two prompts, and what one forced token does; a click draws these alone again."""
    framed(lambda: _draw(model, task, blocks))


def _draw(model: str, task: dict[str, Any], blocks: tuple[int, ...]) -> None:
    st.header("Which tokens go through which block", anchor=False)
    setting = _setting()
    spec = _routes_spec(model, task, setting)
    result = _routes(spec)
    sides = _sides(result)
    _cells(model, task, setting, sides, blocks)
    (first_run, first), (other_run, other) = sides
    if state.toggle(
        "Show the routes as a figure", state.Flag("figure"), help="With caption and downloads."
    ):
        figure = token_routes_figure(
            result, prompt=first, run=first_run, other=other, other_run=other_run
        )
        show_figure(figure, "routes")
    show_copies(spec)


@st.fragment
def _cells(
    model: str,
    task: dict[str, Any],
    setting: dict[str, Any],
    sides: list[tuple[str, int]],
    blocks: tuple[int, ...],
) -> None:
    """The map and the chosen cell, which a click draws again without the controls above."""
    framed(lambda: _map_and_cell(model, task, setting, sides, blocks))


def _map_and_cell(
    model: str,
    task: dict[str, Any],
    setting: dict[str, Any],
    sides: list[tuple[str, int]],
    blocks: tuple[int, ...],
) -> None:
    result = _routes(_routes_spec(model, task, setting))
    place = _place(result)
    routers_map(result, sides, key=_MAP, selected=place, on_choice=lambda: _keep_place(blocks))
    st.caption(
        plain(
            "● goes through, ○ goes past; an orange frame: decided otherwise in the other prompt; "
            "an underline: another token. Below the blocks: tokens that go through; last column: "
            f"routed blocks that the token goes through. Blocks other than {_listed(blocks)} have "
            "no router: all tokens go through."
        )
    )
    if place is None:
        st.caption("Click a cell to force its token the other way.")
    else:
        _forced(model, task, setting, sides[place[0]], blocks[place[1]], place[2])


def _routes_spec(model: str, task: dict[str, Any], setting: dict[str, Any]) -> ExperimentSpec:
    title = "Which tokens go through which block"
    return routers_step(title, model, task, "token_routes", **setting)


def _routes(spec: ExperimentSpec) -> TokenRoutes:
    result = answer(spec)
    assert isinstance(result, TokenRoutes)
    return result


def _setting() -> dict[str, Any]:
    """The route mode, and the setting that it has."""
    left, right = st.columns(2)
    with left:
        mode = state.select(
            "Route mode",
            state.Choice("mode", MODES, MODES[0]),
            help="predictor: a small network guesses from the token alone, as in generation. "
            "aux_threshold: tokens whose router weight is above a threshold. topk: the capacity "
            "share with the highest weights, as in training; it looks at the whole prompt. random: "
            "as many at random, the control of Raposo et al. 2024. all: every token.",
        )
    with right:
        if mode == THRESHOLD:
            threshold = state.slider(
                "Threshold",
                state.Real("threshold", -20.0, 20.0, 0.0),
                step=0.5,
                help="Training centres router weights on 0 (Raposo et al. 2024).",
            )
            return {"mode": mode, "threshold": threshold}
        if mode in (TOPK, RANDOM):
            capacity = state.slider(
                "Capacity",
                state.Real("capacity", 0.05, 1.0, 0.25),
                step=0.05,
                help="Share of a prompt's tokens that go through a routed block (Raposo et al. "
                "2024 train with 12.5 %).",
            )
            return {"mode": mode, "capacity": capacity}
    return {"mode": mode}


def _sides(result: TokenRoutes) -> list[tuple[str, int]]:
    """The two prompts to compare."""
    last = result.through.sizes[PROMPT] - 1
    found = []
    columns = st.columns(4)
    for i, (name, word) in enumerate((("a", "First"), ("b", "Second"))):
        with columns[2 * i]:
            prompt = state.number(
                f"{word} prompt", state.Whole(name, 0, last, 0), help="Its number in the task."
            )
        with columns[2 * i + 1]:
            run = state.select(
                f"{word}: which of the pair",
                state.Choice(f"{name}run", RUNS, RUNS[i]),
                help="clean, or the corrupted prompt that activations are exchanged with in "
                "patching (Zhang and Nanda 2024).",
            )
        found.append((run, prompt))
    return found


def _place(result: TokenRoutes) -> Place | None:
    """The chosen cell in the address: side, row among the blocks, position."""
    blocks = [str(layer) for layer in result.through[LAYER].values]
    side = state.read(state.Choice("side", ("a", "b"), "a"))
    layer = state.read(state.Choice("layer", blocks, ""))
    position = state.read(state.Whole("position", 0, result.through.sizes[POSITION] - 1))
    if not layer or position is None:
        return None
    return "ab".index(side), blocks.index(layer), position


def _keep_place(blocks: tuple[int, ...]) -> None:
    place = chosen_place(_MAP)
    if place is not None:
        side, row, position = place
        state.write(side="ab"[side], layer=blocks[row], position=position)


def _forced(
    model: str,
    task: dict[str, Any],
    setting: dict[str, Any],
    side: tuple[str, int],
    layer: int,
    position: int,
) -> None:
    """What it does to force the chosen token."""
    to = state.select(
        "Force the token",
        state.Choice("to", _WAYS, _WAYS[0]),
        help="other: through where it goes past, and past where it goes through. Later routers "
        "decide again. The same position is forced in all prompts; another position that was "
        "decided alike is the control.",
    )
    spec = _forced_spec(model, task, setting, side, layer=layer, position=position, to=to)
    show_figure(answer_figure(spec), f"forced-{side[0]}-{side[1]}-{layer}-{position}-{to}")
    show_copies(spec)


def _forced_spec(
    model: str,
    task: dict[str, Any],
    setting: dict[str, Any],
    side: tuple[str, int],
    **cell: Any,
) -> ExperimentSpec:
    run, prompt = side
    title = f"Position {cell['position']} forced at block {cell['layer']}"
    params = {**setting, **cell, "run": run, "prompt": prompt}
    return routers_step(title, model, task, "forced_route", **params)


def _listed(blocks: tuple[int, ...]) -> str:
    return ", ".join(map(str, blocks))
