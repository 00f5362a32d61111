"""The pairs of the page Prompts: the spec that reads the answers, and their tokens as chips."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from apps.common.session import pool
from apps.common.specs import one_step
from mechbench.experiments.spec import ExperimentSpec, ModelPart
from mechbench.figures.tokens import shown_token
from mechbench.resources import bundled
from mechbench.results.pair_logits import RUN, PairLogits
from mechbench.shapes import PROMPT
from mechbench.tasks.typed_pairs import SplitPair, TypedPair, split_pairs

_CSS = """
.chips { font: 13px sans-serif; color: var(--st-text-color); }
.pair { padding: 8px 0; border-bottom: 1px solid var(--st-border-color); }
.about { font-weight: 600; }
.scroll { overflow-x: auto; }
th { text-align: left; font-weight: normal; padding: 2px 8px 2px 0; }
td { padding: 2px 2px; text-align: center; }
.numbers { font-size: 11px; opacity: 0.75; }
.chip { white-space: pre; font-family: monospace; padding: 1px 4px; border-radius: 3px;
  border: 1px solid var(--st-border-color); display: inline-block; }
.differs { background: #F5D5A0; color: #000000; font-weight: 600; }
.line { padding-top: 2px; }
"""

_mount = component(
    "mechbench_chips",
    html='<div class="chips"></div>',
    css=_CSS,
    js=(bundled("apps") / "common" / "chips.js").read_text(encoding="utf-8"),
)


def pairs_spec(model: str, part: dict[str, Any], corruption: str | None) -> ExperimentSpec:
    """The experiment that reads the answers."""
    return one_step(
        "pair-logits",
        "Clean and corrupted prompts",
        model,
        part,
        "pair_logits",
        corruption=corruption,
    )


def show_pairs(result: PairLogits, first: int, last: int) -> None:
    """Pairs ``first`` to ``last - 1`` with what the model answers to them."""
    shown = range(first, min(last, result.metric.sizes[PROMPT]))
    _mount(key="chips", data={"pairs": [_pair(result, prompt) for prompt in shown]})
    st.caption("Coloured tokens differ within a pair; a space is shown as ·.")


def show_misfits(pairs: Sequence[SplitPair]) -> None:
    """The pairs of unequal length, so that one sees where they part."""
    misfits = [(number, pair) for number, pair in enumerate(pairs, 1) if not pair.same_length]
    data = [
        {
            "about": f"pair {number}: {len(pair.clean)} and {len(pair.corrupted)} tokens",
            "clean": [_chip(token) for token in pair.clean],
            "corrupted": [_chip(token) for token in pair.corrupted],
            "lines": [],
        }
        for number, pair in misfits[:10]
    ]
    _mount(key="misfits", data={"pairs": data})


def typed_tokens(model: str, pairs: Sequence[TypedPair]) -> list[SplitPair]:
    """The tokens of pairs that need not fit together.

    Raises:
        MechbenchError: as the model.
    """
    with pool().use(ModelPart(name=model), None) as loaded:
        return split_pairs(loaded.tokenizer, pairs)


def _pair(result: PairLogits, prompt: int) -> dict[str, Any]:
    at = {PROMPT: prompt}
    metric = result.metric_name.replace("_", " ")
    units = result.metric.attrs["units"]
    clean, corrupted = (float(result.metric.sel({RUN: run}).isel(at)) for run in _RUNS)
    difference = float(result.difference.isel(at))
    answers = result.answers.isel(at)
    lines = [
        f"{metric} ({units}): clean {clean:+.3f}, corrupted {corrupted:+.3f}, "
        f"difference {difference:+.3f}"
    ]
    for index, label in enumerate(answers["answer"].values):
        lines.append(f"{label} {_chip(answers.values[index])}: " + _said(result, prompt, index))
    tokens = result.tokens.isel(at)
    return {
        "about": f"pair {prompt}",
        "clean": [_chip(t) for t in tokens.sel({RUN: "clean"}).values],
        "corrupted": [_chip(t) for t in tokens.sel({RUN: "corrupted"}).values],
        "lines": lines,
    }


def _said(result: PairLogits, prompt: int, answer: int) -> str:
    """What the model says at one answer's position, in both runs."""
    at = {PROMPT: prompt, "answer": answer}
    parts = []
    for run in _RUNS:
        token = _chip(result.top_token.sel({RUN: run}).isel(at).item())
        top = float(result.top_prob.sel({RUN: run}).isel(at))
        log_prob = float(result.log_prob.sel({RUN: run}).isel(at))
        parts.append(
            f"{run} log-probability {log_prob:.2f} (likeliest {token} with probability {top:.2f})"
        )
    return "; ".join(parts)


_RUNS = ("clean", "corrupted")


def _chip(token: Any) -> str:
    text = shown_token(str(token))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
