"""Patching: a sweep in the background, and what the patches of its cells do."""

from typing import cast

import streamlit as st

from apps.common import state
from apps.common.answers import answer_figure
from apps.common.catalogue import CORRUPTIONS, GENERATED
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.session import store
from apps.common.specs import OWN, SWEEP, one_step
from apps.common.subject import subject
from apps.common.text import plain
from apps.common.work import named_run, run_button, show_state
from apps.components.heatmap import Cell, chosen, clickable, collected
from apps.components.panels import show_panels
from apps.parts.patching import (
    HEAD_SITES,
    SITES,
    cell_name,
    cell_names,
    cell_spec,
    joint_spec,
    named_cells,
    sweep_figure,
    sweep_map,
    sweep_so_far,
)
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.patch_sweep import Shown
from mechbench.results.patch_sweep import PatchSweep
from mechbench.results.run import Run

_MAP = "sweep-map"
_DIRECTIONS = ("noise", "denoise")
_TASKS = (*GENERATED, OWN)
_USUAL = "usual"
_OF_RUN = ("layer", "place", "cells", "prompt", "alayer", "ahead")


def draw() -> None:
    """The page."""
    st.title("Patching")
    run = named_run([SWEEP])
    spec = _form(run)
    run = run_button(spec, "Run the sweep", clears=_OF_RUN) or run
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
    params = {} if run is None else ExperimentSpec.model_validate(run.spec).steps[0].params
    model, part = subject(run, tasks=_TASKS)
    columns = st.columns([2, 2, 3, 2, 2])
    with columns[0]:
        site = state.select(
            "Site",
            state.Choice("site", SITES, params.get("site", "z")),
            help="What is overwritten. z: a head's output before W_O, as in Wang et al. 2022; "
            "resid_pre: the stream before a block, as in causal tracing, Meng et al. 2022.",
        )
    with columns[1]:
        direction = state.select(
            "Direction",
            state.Choice("direction", _DIRECTIONS, params.get("direction", "noise")),
            help="noise breaks the clean run with corrupted activations, and finds what is needed; "
            "denoise repairs the corrupted run, and finds what suffices (Heimersheim and Nanda "
            "2024).",
        )
    with columns[2]:
        known = (_USUAL, *CORRUPTIONS[part["name"]])
        given = params.get("corruption", _USUAL)
        state.forget_unless("corruption", known)
        corruption = state.select(
            "Corruption",
            state.Choice("corruption", known, given if given in known else _USUAL),
            help="How the other prompt of a pair differs; usual: what the task's paper uses. What "
            "the corruption leaves alone, patching cannot find (Zhang and Nanda 2024).",
        )
    with columns[3]:
        position = _position(site, params)
    with columns[4]:
        control = state.toggle(
            "Control",
            state.Flag("control", params.get("control", True)),
            help="Also writes random directions of the same length (our choice): effects as large "
            "as theirs say nothing. Takes twice as long.",
        )
    return one_step(
        "patching",
        f"Patching {site}, {direction}",
        model,
        part,
        "patch_sweep",
        site=site,
        direction=direction,
        corruption=None if corruption == _USUAL else corruption,
        position=position,
        control=None if control else False,
    )


def _position(site: str, params: dict) -> int | str | None:
    """Where the heads are patched; None, which is everywhere, for the residual stream."""
    if site not in HEAD_SITES:
        st.caption("Patched at each position by itself.")
        return None
    text = state.field(
        "Position",
        state.Text("position", str(params.get("position", "")), longest=20),
        help="Empty: all positions. A number counts from BOS at 0; a name is a span of the task, "
        "such as END, or S2 of IOI (Wang et al. 2022).",
    ).strip()
    digits = text.isascii() and text.isdigit()
    return int(text) if digits else text or None


@st.fragment(run_every=1.0)
def _filling(run_id: str) -> None:
    """The rows that are done."""
    run = store().open(run_id)
    result = sweep_so_far(run)
    if result is not None:
        panel, limits = sweep_map(run, result, "effect")
        clickable(panel, limits, key="filling", selected=None, on_choice=lambda: None)


@st.fragment
def _answer(run_id: str) -> None:
    """The map and the chosen cell; a click draws these again and not the whole page."""
    run = store().open(run_id)
    result = sweep_so_far(run)
    if result is not None:
        sweep = ExperimentSpec.model_validate(run.spec)
        kept = _collected(result)
        framed(lambda: _map(run, result, kept))
        framed(lambda: _cell(sweep, result))
        framed(lambda: _together(sweep, kept))


def _map(run: Run, result: PatchSweep, kept: list[Cell]) -> None:
    kinds = ("effect", "share") + (() if result.control is None else ("control",))
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        scale = state.select(
            "Scale",
            state.Choice("scale", kinds, "effect"),
            help="effect: in the metric's units. share: 0 is the unpatched run, 1 the other run "
            "(Zhang and Nanda 2024). control: what random directions of the same length do, in "
            "the colours of the effect.",
        )
    shown = cast(Shown, scale)
    with right:
        as_figure = state.toggle(
            "Show the sweep as a figure",
            state.Flag("figure"),
            help="With its caption and downloads.",
        )
    panel, limits = sweep_map(run, result, shown)
    clickable(
        panel,
        limits,
        key=_MAP,
        selected=_selected(result),
        on_choice=_keep_cell,
        kept=kept,
        on_collect=_keep_collected,
        interval=result.interval(shown),
    )
    metric = result.metric_name.replace("_", " ")
    st.caption(
        plain(
            f"Metric: {metric}; unpatched {float(result.base.mean()):.2f}, other run "
            f"{float(result.other.mean()):.2f}, {result.base.sizes['prompt']} prompts. Colours "
            f"from {limits[0]:.3g} to {limits[1]:.3g}: {panel.value_title}."
        )
    )
    if as_figure:
        show_figure(sweep_figure(run, result, shown), f"{run.run_id}-sweep")


def _row_and_column(result: PatchSweep) -> tuple[state.Whole, state.Whole]:
    n_layers, n_places = result.effect.shape[:2]
    return state.Whole("layer", 0, n_layers - 1), state.Whole("place", 0, n_places - 1)


def _selected(result: PatchSweep) -> Cell | None:
    """The chosen cell; bad values in the address are told and leave none."""
    row, col = (state.read(param) for param in _row_and_column(result))
    return None if row is None or col is None else (row, col)


def _collected(result: PatchSweep) -> list[Cell]:
    return named_cells(state.read(state.Several("cells", cell_names(result))))


def _keep_cell() -> None:
    cell = chosen(_MAP)
    if cell is not None:
        state.write(layer=cell[0], place=cell[1])


def _keep_collected() -> None:
    state.write(cells=tuple(cell_name(cell) for cell in collected(_MAP)))


def _cell(sweep: ExperimentSpec, result: PatchSweep) -> None:
    """What the patch of the chosen cell does."""
    params = _row_and_column(result)
    try:
        at = tuple(param.parse(st.query_params.get(param.name, "")) for param in params)
    except ValueError:
        st.caption("Click a cell to see what its patch does; shift-click collects cells.")
        return
    cell = (at[0], at[1])
    left, middle, right = st.columns(3)
    with left:
        prompt = state.number(
            "Prompt",
            state.Whole("prompt", 0, result.effect.sizes["prompt"] - 1, 0),
            help="Whose attention and likeliest tokens are shown.",
        )
    seen = _attention(result, cell, middle, right)
    spec = cell_spec(sweep, result, cell, prompt, seen)
    figure = answer_figure(spec)
    units = result.effect.attrs["units"]
    numbers = [
        f"{name} {mean:+.3g} [{low:+.3g}, {high:+.3g}]"
        for name, (mean, low, high) in result.at(*cell).items()
    ]
    st.markdown(plain(f"{'; '.join(numbers)} ({units}; share of the way to the other run)"))
    show_panels(figure, spec.model_dump_json(), key="closeup")
    if state.toggle("Show the patch as a figure", state.Flag("cellfigure"), help="To download it."):
        show_figure(figure, f"cell-{cell[0]}-{cell[1]}")
    else:
        st.caption(plain(figure.caption))
    show_copies(spec)


def _attention(result: PatchSweep, cell: Cell, left, right) -> Cell | None:
    """Which head's attention is looked at; None for the patched head's own."""
    own = (cell[0], cell[1] if result.place == "head" else 0)
    with left:
        layer = state.number(
            "Attention of layer",
            state.Whole("alayer", -1, result.effect.shape[0] - 1, -1),
            help="-1: of the patched layer. A later one shows whether the patch moves the "
            "attention of heads that read it (Wang et al. 2022).",
        )
    with right:
        head = state.number(
            "and head",
            state.Whole("ahead", -1, 255, -1),
            help="-1: of the patched head, or head 0 where the residual stream is patched.",
        )
    if layer < 0 and head < 0:
        return None
    return (own[0] if layer < 0 else layer, own[1] if head < 0 else head)


def _together(sweep: ExperimentSpec, cells: list[Cell]) -> None:
    """The collected cells, and what their patches do together."""
    if not cells:
        return
    names = ", ".join(cell_name(cell) for cell in cells)
    st.markdown(plain(f"Collected: {names}"))
    if len(cells) < 2:
        st.caption("Shift-click another cell to see what both do together.")
        return
    if state.toggle(
        "Patch them together",
        state.Flag("together"),
        help="Beside the sum of their single effects: heads that back each other up do more "
        "together than apart (Wang et al. 2022).",
    ):
        spec = joint_spec(sweep, cells)
        show_figure(answer_figure(spec), "together")
        show_copies(spec)


framed(draw)
