"""Multi-hop, the other views: hop labels, stages, what states say, and what writes them."""

from typing import Any

import streamlit as st

from apps.common import state
from apps.common.answers import answer, answer_figure
from apps.common.copying import show_copies
from apps.common.figures import show_figure
from apps.common.text import plain
from apps.common.work import finished_result, run_button, show_state
from apps.parts.hops import (
    STAGES,
    evidence_spec,
    labels_spec,
    stages_spec,
    step_of,
)
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.hop_labels import label_rows
from mechbench.figures.two_hop_stages import two_hop_stages_figure
from mechbench.results.hop_labels import CORRECT, INCORRECT, NEITHER, HopLabels
from mechbench.results.run import Run
from mechbench.results.two_hop_stages import TwoHopStages

_SETS = ("all", INCORRECT, CORRECT, NEITHER)
_METHODS = ("argmax", "generate")
_PROMPTS = ("lens", "description", "repeat", "words", "second_hop", "composition")
_DECODINGS = ("argmax", "greedy", "sample")
_EVIDENCE = ("entity_description", "attention_knockout", "sublayer_projection")
_PROMPT_HELP = (
    "What the state is written into. lens: it is unembedded. description and repeat: few-shot "
    "lines of real names (Ghandeharioun et al. 2024, Patchscopes), for models of natural text. "
    "words: the task's own entities, repeated. "
)


def labels_view(model: str, part: dict[str, Any], run: Run | None) -> None:
    """Which of the five questions each query is answered, and the set that follows."""
    columns = st.columns(3)
    with columns[0]:
        method = state.select(
            "Decoding",
            state.Choice("labels_by", _METHODS, _METHODS[0]),
            help="argmax: the first token must begin a name. generate: the text must name it, or "
            "an alias (Biran et al. 2024).",
        )
    with columns[1]:
        tokens = state.number(
            "New tokens",
            state.Whole("labels_tokens", 1, 40, 10),
            help="Of generate; the paper takes 10.",
        )
    with columns[2]:
        shown = state.select(
            "Set",
            state.Choice("labels_set", _SETS, _SETS[0]),
            help="correct: both hops and the composition right, no shortcut right. incorrect: the "
            "same with the composition wrong. neither: all others (Biran et al. 2024).",
        )
    spec = labels_spec(model, part, method=method, max_new_tokens=tokens)
    result = answer(spec)
    assert isinstance(result, HopLabels)
    columns_, rows = label_rows(result, group=None if shown == "all" else shown)
    st.dataframe(
        [dict(zip(columns_, row, strict=True)) for row in rows],
        hide_index=True,
        height=min(38 * (len(rows) + 1), 420),
    )
    st.caption(
        plain(f"{len(rows)} queries. ✓: the answer names what the question is scored against.")
    )
    show_figure(answer_figure(spec), "hops-labels")
    show_copies(spec)


def stages_view(model: str, part: dict[str, Any], run: Run | None) -> None:
    """When each stage is first seen, as a job."""
    params = {} if run is None else step_of(ExperimentSpec.model_validate(run.spec), STAGES).params
    columns = st.columns(4)
    with columns[0]:
        prompt = state.select(
            "Target prompt",
            state.Choice("stage_prompt", _PROMPTS, params.get("prompt", "lens")),
            help=_PROMPT_HELP + "It says where e2 and e3 are decoded.",
        )
    with columns[1]:
        decoding = state.select(
            "Decoding of states",
            state.Choice("stage_decoding", _DECODINGS, params.get("decoding", "argmax")),
            help="argmax: the first token. sample: three continuations at temperature 1, any of "
            "which counts (Biran et al. 2024).",
        )
    with columns[2]:
        method = state.select(
            "Decoding of answers",
            state.Choice("stage_method", _METHODS, params.get("method", "argmax")),
            help="For the sets and for what a masked position changes: the first token, or text.",
        )
    with columns[3]:
        window = state.number(
            "Window",
            state.Whole("window", 1, 15, params.get("window", 1)),
            help="Layers on each side in which attention from t2 to t1 is masked together (Geva "
            "et al. 2023); the paper takes windows of seven.",
        )
    spec = stages_spec(
        model,
        part,
        prompt=prompt,
        decoding=decoding,
        method=method,
        labels=method,
        window=window,
    )
    run = run_button(spec, "Date the stages") or run
    if run is None:
        st.info("The button looks for the first layer of each stage, in both sets of queries.")
        show_copies(spec)
        return
    result = None if show_state(run) else finished_result(run, STAGES)
    if isinstance(result, TwoHopStages):
        show_figure(two_hop_stages_figure(result), f"{run.run_id}-stages")
    show_copies(ExperimentSpec.model_validate(run.spec))


def evidence_view(model: str, part: dict[str, Any], run: Run | None) -> None:
    """The experiments behind the stages, each by itself."""
    analysis = state.select(
        "Experiment",
        state.Choice("experiment", _EVIDENCE, _EVIDENCE[0]),
        help="entity_description: which entity a state describes. attention_knockout: which "
        "position must look at which (Geva et al. 2023). sublayer_projection: where attention "
        "and MLPs write bridge and answer (Biran et al. 2024).",
    )
    spec = evidence_spec(model, part, analysis)
    show_figure(answer_figure(spec), f"hops-{analysis}")
    show_copies(spec)
