"""Multi-hop, the grid: back-patching in the background, and the text of a clicked cell."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.frame import framed
from apps.common.session import store
from apps.common.text import plain
from apps.common.work import finished_result, run_button, show_state
from apps.components.heatmap import chosen, clickable
from apps.parts.hops import BACK, PLACES, back_spec, step_of
from apps.parts.hops_texts import show_texts, texts_of_cell
from mechbench.experiments.back_patching_summary import back_patching_lines, control_table
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.back_patching import back_patching_figure
from mechbench.figures.back_patching_cell import (
    back_patching_cell_figure,
    back_patching_grid_figure,
)
from mechbench.figures.limits import colour_limits
from mechbench.figures.spec import Heatmap
from mechbench.results.back_patching import (
    CORRECT,
    INCORRECT,
    OWN,
    RULE,
    SET,
    STATES,
    BackPatching,
)
from mechbench.results.run import Run
from mechbench.shapes import POSITION

METHODS = ("generate", "argmax")
_MAP = "hops-map"
_RATES = (
    "any cell: some pair of layers makes the query right, which many tries make likely. fixed "
    "cell: one pair, the best for one half of the incorrect set, scored on the other half. mean "
    "over cells: no maximum at all. Controls: another query's state and noise in the same cells; "
    "forward, the same two layers the other way round, with a fixed cell of its own; other answer, "
    "another query's answer counted as right."
)


def grid_view(model: str, part: dict[str, Any], run: Run | None) -> None:
    """The controls, the job, and its result."""
    spec = _form(model, part, run)
    run = run_button(spec, "Patch all pairs of layers", clears=("source", "target")) or run
    if run is None:
        st.info(
            "The button writes every layer's state into every other layer, for the queries that "
            "the model fails although it knows both hops, and for those that it answers."
        )
        show_copies(spec)
        return
    stored = ExperimentSpec.model_validate(run.spec)
    st.caption(plain(f"{run.run_id}: {stored.model.name}, {stored.task.name}"))
    result = None if show_state(run) else finished_result(run, BACK)
    if isinstance(result, BackPatching):
        _answer(run.run_id)
        _rates(run.run_id, result)
    show_copies(stored)


def _form(model: str, part: dict[str, Any], run: Run | None) -> ExperimentSpec:
    usual = {} if run is None else step_of(ExperimentSpec.model_validate(run.spec), BACK).params
    columns = st.columns([3, 2, 2, 2, 2])
    with columns[0]:
        positions = state.several(
            "Positions",
            state.Several("positions", PLACES, tuple(usual.get("positions", PLACES))),
            help="Where states are overwritten: t1, the end of the first hop's phrase, or t2, the "
            "last token (Biran et al. 2024).",
        )
    with columns[1]:
        method = state.select(
            "Decoding",
            state.Choice("method", METHODS, usual.get("method", METHODS[0])),
            help="generate: greedy text, right where it names the answer or an alias (Biran et "
            "al. 2024). argmax: the first token alone, which is faster.",
        )
    with columns[2]:
        tokens = state.number(
            "New tokens",
            state.Whole("tokens", 1, 40, usual.get("max_new_tokens", 5)),
            help="Of generate. The paper takes 10; more tokens name an answer more often by luck, "
            "for which the controls are there.",
        )
    with columns[3]:
        most = state.number(
            "Most of each set",
            state.Whole("most", 0, 512, usual.get("most") or 0),
            help="At most so many queries of the incorrect and of the correct set are run, drawn "
            "by the seed; 0 runs all.",
        )
    with columns[4]:
        split = state.number(
            "Seed of the halves",
            state.Whole("split", 0, 99999, 0 if run is None else run.spec["seed"]),
            help="Of the split that chooses the fixed cell, of noise and of bootstrap intervals.",
        )
    params = {"positions": list(positions), "method": method, "max_new_tokens": tokens}
    return back_spec(model, part, split=split, most=most, **params)


@st.fragment
def _answer(run_id: str) -> None:
    """The map and the chosen cell; a click draws these again and not the whole page."""
    run = store().open(run_id)
    result = finished_result(run, BACK)
    if isinstance(result, BackPatching):
        framed(lambda: _cells(ExperimentSpec.model_validate(run.spec), result))


def _cells(stored: ExperimentSpec, result: BackPatching) -> None:
    at = _shown(result)
    grid = {name: at[name] for name in ("rule", "group", "position")}
    figure = back_patching_grid_figure(result, **at)
    (panel,) = figure.panels
    assert isinstance(panel, Heatmap)
    cell = _cell(len(panel.rows))
    left, right = st.columns([9, 11])
    with left:
        limits = colour_limits(figure)[0]
        clickable(panel, limits, key=_MAP, selected=cell, on_choice=_keep_cell)
        fixed = " to ".join(map(str, panel.marked[0]))
        st.caption(
            plain(
                f"Colours from {limits[0]:.2g} to {limits[1]:.2g}: share of "
                f"{result.n_run(at['group'])} queries answered right. Above the diagonal states "
                f"go back, below it forward. The fixed cell is {fixed}."
            )
        )
    with right:
        table = control_table(result, cell=cell, **grid)
        rows = [[value.replace(", ", ",\u00a0") for value in row] for row in table.rows]
        show_texts(table.columns, rows)  # an interval stays on one line
        st.caption(
            "A cell picked because it looks good flatters itself; the fixed cell was chosen on "
            "other queries, and any cell has many tries. Compare each with its controls.",
            help=_RATES,
        )
        if cell is None:
            st.caption("Click a cell to read what the model says there.")
    said = None if cell is None else texts_of_cell(stored, result, at, cell)
    shown = state.toggle(
        "Show as figures",
        state.Flag("figures"),
        help="The grid, the cell beside its controls, and the texts; with captions and downloads.",
    )
    if shown:
        show_figure(figure, "hops-grid")
        if cell is not None:
            source, target = cell
            bars = back_patching_cell_figure(result, source=source, target=target, **grid)
            show_figure(bars, "hops-cell")
        if said is not None:
            show_figure(answer_figure(said), "hops-text")
    if said is not None:
        show_copies(said)


def _shown(result: BackPatching) -> dict[str, str]:
    """Which of the result's grids is shown."""
    rules = [str(rule) for rule in result.rates[RULE].values]
    places = [str(place) for place in result.rates[POSITION].values]
    groups = [name for name in (INCORRECT, CORRECT) if result.n_run(name)]
    columns = st.columns(4)
    with columns[0]:
        group = state.select(
            "Queries",
            state.Choice(SET, _offer(SET, groups), groups[0]),
            help="incorrect: both hops right, the composition wrong, which a patch may rescue. "
            "correct: the composition was right without a patch, which one may break. They are "
            "kept apart (Biran et al. 2024).",
        )
    with columns[1]:
        position = state.select(
            "Position",
            state.Choice("position", _offer("position", places), places[0]),
            help="Whose grid is shown: t1 ends the first hop's phrase, t2 the prompt.",
        )
    with columns[2]:
        written = state.select(
            "Written state",
            state.Choice("state", STATES, OWN),
            help="own: the prompt's own state, as in back-patching. The others are controls: "
            "another query's state, or noise as long as the change.",
        )
    with columns[3]:
        rule = state.select(
            "Right is",
            state.Choice("rule", _offer("rule", rules), rules[-1]),
            help="first token: it begins a name of the answer. text: the text names it.",
        )
    return {"group": group, "position": position, "state": written, "rule": rule}


def _offer(name: str, options: list[str]) -> list[str]:
    """The options; a choice that another run offered is forgotten before its control is drawn."""
    if st.session_state.get(f"url-{name}") not in (None, *options):
        del st.session_state[f"url-{name}"]
    return options


def _cell(n_layers: int) -> tuple[int, int] | None:
    source = state.read(state.Whole("source", 0, n_layers - 1))
    target = state.read(state.Whole("target", 0, n_layers - 1))
    return None if source is None or target is None else (source, target)


def _keep_cell() -> None:
    cell = chosen(_MAP)
    if cell is not None:
        state.write(source=cell[0], target=cell[1])


def _rates(run_id: str, result: BackPatching) -> None:
    """Everything in sentences, and as one figure."""
    with st.expander("All rates in words"):
        for line in back_patching_lines(result):
            st.write(plain(line))
    shown = state.toggle(
        "Show all grids and rates as a figure",
        state.Flag("rates"),
        help=f"With intervals, controls, caption and downloads. {_RATES}",
    )
    if shown:
        rule = str(result.rates[RULE].values[-1])
        show_figure(back_patching_figure(result, rule=rule), f"{run_id}-rates")
