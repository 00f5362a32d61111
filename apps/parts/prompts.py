"""The pairs of the page Prompts: the spec that reads the answers, and their tokens as chips."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from apps.common.session import pool
from apps.common.specs import one_step
from apps.components.chips import Chips, chip, chips
from mechbench.experiments.spec import ExperimentSpec, ModelPart
from mechbench.results.pair_logits import RUN, PairLogits
from mechbench.shapes import PROMPT
from mechbench.tasks.typed_pairs import SplitPair, TypedPair, split_pairs

_RUNS = ("clean", "corrupted")


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
    chips([_pair(result, prompt) for prompt in shown], key="chips")
    st.caption("Coloured tokens differ within a pair; a space is shown as ·.")


def show_misfits(pairs: Sequence[SplitPair]) -> None:
    """The pairs of unequal length, so that one sees where they part."""
    misfits = [(number, pair) for number, pair in enumerate(pairs, 1) if not pair.same_length]
    shown = [
        Chips(
            about=f"pair {number}: {len(pair.clean)} and {len(pair.corrupted)} tokens",
            clean=[chip(token) for token in pair.clean],
            corrupted=[chip(token) for token in pair.corrupted],
            lines=[],
        )
        for number, pair in misfits[:10]
    ]
    chips(shown, key="misfits")


def typed_tokens(model: str, pairs: Sequence[TypedPair]) -> list[SplitPair]:
    """The tokens of pairs that need not fit together.

    Raises:
        MechbenchError: as the model.
    """
    with pool().use(ModelPart(name=model), None) as loaded:
        return split_pairs(loaded.tokenizer, pairs)


def _pair(result: PairLogits, prompt: int) -> Chips:
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
        lines.append(f"{label} {chip(answers.values[index])}: " + _said(result, prompt, index))
    tokens = result.tokens.isel(at)
    return Chips(
        about=f"pair {prompt}",
        clean=[chip(token) for token in tokens.sel({RUN: "clean"}).values],
        corrupted=[chip(token) for token in tokens.sel({RUN: "corrupted"}).values],
        lines=lines,
    )


def _said(result: PairLogits, prompt: int, answer: int) -> str:
    """What the model says at one answer's position, in both runs."""
    at = {PROMPT: prompt, "answer": answer}
    parts = []
    for run in _RUNS:
        token = chip(result.top_token.sel({RUN: run}).isel(at).item())
        top = float(result.top_prob.sel({RUN: run}).isel(at))
        log_prob = float(result.log_prob.sel({RUN: run}).isel(at))
        parts.append(
            f"{run} log-probability {log_prob:.2f} (likeliest {token} with probability {top:.2f})"
        )
    return "; ".join(parts)
