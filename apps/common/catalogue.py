"""The models and tasks that pages offer by name. Nothing here loads a model."""

import json
from pathlib import Path

import streamlit as st

from apps.common.settings import settings
from mechbench.resources import PLANTED, bundled

# Tasks that generate their own prompts, with any tokenizer that knows the words.
GENERATED = ("acronyms", "induction", "ioi", "greater_than", "docstring", "multiple_choice")

# What each task's ``pairs`` takes; the pages know it before a task is built.
CORRUPTIONS = {
    "acronyms": ("current_word", "previous_words", "previous_letters", "all"),
    "induction": ("first_half", "other_repeat"),
    "ioi": ("abc", "swapped"),
    "greater_than": ("01",),
    "docstring": ("random_answer", "random_doc", "random_random"),
    "multiple_choice": ("rotated", "anchor_swapped"),
    "pairs": ("corrupted",),
}


@st.cache_data(show_spinner=False)
def _summaries(folders: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for root in folders:
        for path in sorted(Path(root).glob("*/config.json")):
            config = json.loads(path.read_text(encoding="utf-8"))
            inside = Path(root) == bundled("data") / "models"
            name = path.parent.name if inside else str(path.parent)
            found[name] = str(config.get("summary") or config.get("model_type") or "")
    return found


def models() -> dict[str, str]:
    """Name to summary: bundled models, planted circuits, then those of the configured folders."""
    own = _summaries((str(bundled("data") / "models"),))
    planted = {name: "constructed, with a known circuit" for name in PLANTED}
    return {**own, **planted, **_summaries(tuple(map(str, settings().models)))}
