"""Patching: a sweep in the background, and what the patch of one cell does."""

import streamlit as st

from apps.common import state
from apps.common.answers import answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.heatmap import chosen, clickable, collected
from apps.common.patching import cell_spec, sweep_so_far
from apps.common.session import store
from apps.common.specs import SWEEP, one_step
from apps.common.subject import subject
from apps.common.text import plain
from apps.common.work import named_run, run_button, show_state
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.limits import colour_limits
from mechbench.figures.patch_sweep import patch_sweep_figure
from mechbench.figures.spec import Heatmap
from mechbench.results.patch_sweep import PatchSweep
from mechbench.results.run import Run

_MAP = "sweep-map"
_DIRECTIONS = ("noise", "denoise")
_SITES = ("z", "q", "k", "v", "resid_pre", "resid_mid", "attn_out", "mlp_out")


def draw() -> None:
    """The page."""
    st.title("Patching")
    run = named_run([SWEEP])
    spec = _form(run)
    run = run_button(spec, "Run the sweep", clears=("layer", "place")) or run
    if run is None:
        st.info("Choose a model and a task, and run the sweep; or open one from the page Runs.")
        show_copies(spec)
        return
    stored = ExperimentSpec.model_validate(run.spec)
    part = stored.task
    st.caption(plain(f"{run.run_id}: {stored.model.name}, {part.name}, n={part.n or 'all'}"))
    if show_state(run):
        _filling(run.run_id)
    else:
        _answer(run.run_id)
    show_copies(stored)


def _form(run: Run | None) -> ExperimentSpec:
    """The sweep that the controls describe; at first that of the run, where one is named."""
    usual = _usual(run)
    model, part = subject(run)
    left, right = st.columns(2)
    with left:
        site = state.select(
            "Site",
            state.Choice("site", _SITES, usual["site"]),
            help="What is overwritten. z: a head's output before W_O, as in Wang et al. 2022; "
            "resid_pre: the stream before a block, as in causal tracing, Meng et al. 2022.",
        )
    with right:
        direction = state.select(
            "Direction",
            state.Choice("direction", _DIRECTIONS, usual["direction"]),
            help="noise breaks the clean run with corrupted activations, and finds what is needed; "
            "denoise repairs the corrupted run, and finds what suffices (Heimersheim and Nanda "
            "2024).",
        )
    title = f"Patching {site}, {direction}"
    return one_step("patching", title, model, part, "patch_sweep", site=site, direction=direction)


def _usual(run: Run | None) -> dict[str, str]:
    """What the sweep's controls show where the address says nothing."""
    params = {} if run is None else ExperimentSpec.model_validate(run.spec).steps[0].params
    return {"site": params.get("site", "z"), "direction": params.get("direction", "noise")}


@st.fragment(run_every=1.0)
def _filling(run_id: str) -> None:
    """The rows that are done."""
    result = sweep_so_far(store().open(run_id))
    if result is not None:
        panel, limits = _panel(result, False)
        clickable(panel, limits, key="filling", selected=None, on_choice=lambda: None)


@st.fragment
def _answer(run_id: str) -> None:
    """The map and the chosen cell; a click draws these again and not the whole page."""
    run = store().open(run_id)
    result = sweep_so_far(run)
    if result is not None:
        framed(lambda: _map(run, result))
        framed(lambda: _cell(ExperimentSpec.model_validate(run.spec), result))


def _map(run: Run, result: PatchSweep) -> None:
    share = (
        state.select(
            "Scale",
            state.Choice("scale", ("effect", "share"), "effect"),
            help="effect: in the metric's units. share: 0 is the unpatched run, 1 the other run "
            "(Zhang and Nanda 2024).",
        )
        == "share"
    )
    panel, limits = _panel(result, share)
    clickable(panel, limits, key=_MAP, selected=_selected(panel), on_choice=_keep_cell)
    st.caption(plain(f"Colours from {limits[0]:.3g} to {limits[1]:.3g}: {panel.value_title}."))
    heads = collected(_MAP)
    if heads:
        names = ", ".join(f"{panel.rows[row]}.{panel.cols[col]}" for row, col in heads)
        st.write(plain(f"Collected: {names}"))
    if st.toggle("Show the sweep as a figure", help="With its caption and downloads."):
        show_figure(patch_sweep_figure(result, share=share), f"{run.run_id}-sweep")


def _panel(result: PatchSweep, share: bool) -> tuple[Heatmap, tuple[float, float]]:
    (panel,) = patch_sweep_figure(result, share=share).panels
    assert isinstance(panel, Heatmap)
    return panel, colour_limits(patch_sweep_figure(result, share=share))[0]


def _selected(panel: Heatmap) -> tuple[int, int] | None:
    row = state.read(state.Whole("layer", 0, len(panel.rows) - 1))
    col = state.read(state.Whole("place", 0, len(panel.cols) - 1))
    return None if row is None or col is None else (row, col)


def _keep_cell() -> None:
    cell = chosen(_MAP)
    if cell is not None:
        state.write(layer=cell[0], place=cell[1])


def _cell(sweep: ExperimentSpec, result: PatchSweep) -> None:
    """What the patch of the chosen cell does."""
    layer, place = (st.query_params.get(name) for name in ("layer", "place"))
    n_layers, n_places = result.effect.shape[:2]
    row = state.Whole("layer", 0, n_layers - 1)
    col = state.Whole("place", 0, n_places - 1)
    try:
        at = row.parse(layer or ""), col.parse(place or "")
    except ValueError:
        st.caption("Click a cell to see what its patch does; shift-click collects cells.")
        return
    prompt = state.number(
        "Prompt",
        state.Whole("prompt", 0, result.effect.sizes["prompt"] - 1, 0),
        help="Whose attention and likeliest tokens are shown.",
    )
    spec = cell_spec(sweep, result, at, prompt)
    show_figure(answer_figure(spec), f"cell-{at[0]}-{at[1]}")
    show_copies(spec)


framed(draw)
