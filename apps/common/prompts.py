"""The pairs of the page Prompts: the spec that reads the answers, and the table of tokens."""

from typing import Any

import pandas as pd
import streamlit as st

from apps.common.specs import one_step
from mechbench.experiments.spec import ExperimentSpec
from mechbench.figures.spec import FigureSpec, Heatmap

_DIFFERS = "background-color: #F5D5A0; color: #000000"


def pairs_spec(model: str, part: dict[str, Any]) -> ExperimentSpec:
    """The experiment that reads the answers."""
    return one_step("pair-logits", "Clean and corrupted prompts", model, part, "pair_logits")


def show_chips(figure: FigureSpec) -> None:
    """The tokens of the pairs as a table, the ones that differ on a coloured ground."""
    panel = figure.panels[0]
    assert isinstance(panel, Heatmap) and panel.cell_text is not None
    tokens = pd.DataFrame(panel.cell_text, index=panel.rows, columns=panel.cols)
    grounds = pd.DataFrame(panel.values > 0, index=panel.rows, columns=panel.cols)
    st.dataframe(tokens.style.apply(lambda _: grounds.map(_ground), axis=None))
    st.caption("Tokens by position; a space is shown as ·. Coloured tokens differ within a pair.")


def _ground(differs: bool) -> str:
    return _DIFFERS if differs else ""
