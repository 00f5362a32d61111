"""What the page Heads and tokens asks for: its specs, the order of the heads, the prompts."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from apps.common.answers import answer
from apps.common.session import pool
from apps.common.specs import one_step
from apps.parts.patching import sweep_so_far
from mechbench.errors import UnsupportedHookError
from mechbench.experiments.spec import ExperimentSpec, ModelPart
from mechbench.results.attention_view import AttentionView
from mechbench.results.direct_attribution import DirectAttribution
from mechbench.results.pair_logits import RUN, PairLogits
from mechbench.results.ranking import Ranked, ranked
from mechbench.results.run import Run
from mechbench.shapes import HEAD, PROMPT

Part = dict[str, Any]  # the task of a spec


@dataclass(frozen=True)
class HeadOrder:
    """Labels of the heads, the first the most important; ``words`` tell each with its effect."""

    labels: list[str]
    words: dict[str, str]
    origin: str


def head_order(model: str, part: Part, run: Run | None) -> HeadOrder:
    """By the effect in the sweep ``run``, where it is one of this model's heads; else by direct
    attribution; else, where that does not apply to the model, as they come."""
    sweep = None if run is None else sweep_so_far(run)
    same = run is not None and ExperimentSpec.model_validate(run.spec).model.name == model
    if run is not None and same and sweep is not None and sweep.place == HEAD:
        return _by(
            ranked(sweep.summary),
            f"By the effect of patching {sweep.site} in the run {run.run_id}, {sweep.direction}, "
            f"in units of the {sweep.metric_name.replace('_', ' ')}",
        )
    spec = attribution_spec(model, part)
    try:
        found = answer(spec)
    except UnsupportedHookError as error:
        labels = _all_heads(spec.model.model_dump_json())
        return HeadOrder(labels, dict(zip(labels, labels, strict=True)), f"As they come: {error}")
    assert isinstance(found, DirectAttribution) and found.heads is not None
    return _by(ranked(found.heads), f"By direct attribution, in logits: {found.reading}")


def _by(rows: list[Ranked], origin: str) -> HeadOrder:
    words = {
        row.label: f"{row.label}: {row.mean:+.2f} [{row.low:+.2f}, {row.high:+.2f}]" for row in rows
    }
    return HeadOrder([row.label for row in rows], words, f"{origin}. Brackets: 95 % intervals.")


@st.cache_data(show_spinner="Loading the model")
def _all_heads(model_json: str) -> list[str]:
    with pool().use(ModelPart.model_validate_json(model_json), None) as loaded:
        layers, heads = range(loaded.cfg.n_layers), range(loaded.cfg.n_heads)
        return [f"{layer}.{head}" for layer in layers for head in heads]


def prompt_texts(model: str, part: Part, run: str) -> list[str]:
    """The clean or the corrupted prompts as text."""
    found = answer(one_step("pair-logits", "Prompts", model, part, "pair_logits"))
    assert isinstance(found, PairLogits)
    tokens = found.tokens.sel({RUN: run}).transpose(PROMPT, ...).values
    return ["".join(map(str, row)) for row in tokens]


def layer_of(head: str) -> int:
    """The layer of "2.1"."""
    return int(head.split(".")[0])


def attention_spec(model: str, part: Part, head: str, prompt: int, run: str) -> ExperimentSpec:
    """Attention of the layer of ``head`` in one prompt."""
    title = f"Attention in layer {layer_of(head)}, {run} prompt {prompt}"
    params = {"layer": layer_of(head), "prompt": prompt, "run": run}
    return one_step("attention-view", title, model, part, "attention_view", **params)


def attribution_spec(model: str, part: Part, *, by_head: bool = True) -> ExperimentSpec:
    """Direct attribution to heads, or to whole attention layers."""
    given = {} if by_head else {"heads": False}
    title = "Direct attribution"
    return one_step("direct-attribution", title, model, part, "direct_attribution", **given)


def lens_spec(model: str, part: Part, prompt: int, run: str) -> ExperimentSpec:
    """The logit lens on one prompt."""
    title = f"Logit lens on {run} prompt {prompt}"
    params = {"prompt": prompt, "run": run}
    return one_step("lens-view", title, model, part, "lens_view", **params)


def circuits_spec(model: str, part: Part, head: str, seen: AttentionView | None) -> ExperimentSpec:
    """QK and OV of one head between the tokens of ``seen``, or between the task's answers."""
    ids = None if seen is None else list(dict.fromkeys(seen.token_ids.values.tolist()))
    title = f"QK and OV circuits of head {head}"
    params = {"heads": [head], "tokens": ids}
    return one_step("head-circuits", title, model, part, "head_circuits", **params)


def composition_spec(model: str, part: Part) -> ExperimentSpec:
    """Composition of all pairs of heads."""
    return one_step("composition-scores", "Composition of heads", model, part, "composition_scores")
