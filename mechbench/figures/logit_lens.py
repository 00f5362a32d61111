"""The logit lens: the metric and log-probability by depth, positions, and likeliest tokens."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import evidence, provenance_of, series, shares
from mechbench.figures.spec import FigureSpec, Heatmap, Lines, Reference, Sequential, Series
from mechbench.figures.tokens import shown_token
from mechbench.results.logit_lens import RESIDUAL, SHOWN, LogitLens
from mechbench.shapes import ANSWER, POSITION


def logit_lens_figure(result: LogitLens, *, prompt: int = 0) -> FigureSpec:
    """Four panels; the likeliest tokens are those of prompt number ``prompt``."""
    units = result.metric.attrs["units"]
    metric = (series(result.metric_summary, "this prompt's answers"),)
    log_prob = (
        series(result.log_prob_summary, "this prompt's answers"),
        series(result.control, "another prompt's", dashed=True),
    )
    final = float(result.median_rank.values[-1])
    zero = (Reference(value=0.0),)
    return FigureSpec(
        name="logit-lens",
        title="Logit lens",
        caption=(
            "Each residual stream (n_pre before attention of block n, n_mid after it) is read "
            "through the final norm and the unembedding, as if it were the last. Top: at the "
            f"answers' positions, means over answers and prompts; the median rank of the answer is "
            f"{float(result.median_rank.values[0]):.0f} at first and {final:.0f} at last (0 is the "
            "largest logit). Bottom left: the answer's log-probability read at every position, "
            f"mean over prompts and answers. Bottom right: the likeliest token of prompt {prompt}. "
            + evidence(result)
        ),
        panels=(
            _lines(result, metric, result.metric_name.replace("_", " "), units, zero),
            _lines(result, log_prob, "log-probability", "nats", ()),
            _positions(result),
            _tokens(result, prompt),
        ),
        columns=1,
        shared_colour=False,
        provenance=provenance_of(result),
    )


def _lines(
    result: LogitLens,
    lines: tuple[Series, ...],
    title: str,
    units: str,
    references: tuple[Reference, ...],
) -> Lines:
    labels = _labels(result.metric_summary)
    return Lines(
        x=np.arange(len(labels)),
        x_labels=labels,
        series=lines,
        references=references,
        title=title,
        x_title="residual stream",
        y_title=units,
        markers=True,
    )


def _positions(result: LogitLens) -> Heatmap:
    values = result.by_position.mean(ANSWER).transpose(RESIDUAL, POSITION)
    return Heatmap(
        values=values.values,
        rows=_labels(values),
        cols=tuple(str(p) for p in values[POSITION].values),
        title="log-probability of the answer",
        x_title="position",
        y_title="residual stream",
        value_title="nats",
        colour=Sequential(),
        first_row="bottom",
    )


def _tokens(result: LogitLens, prompt: int) -> Heatmap:
    probs = result.top_prob.isel({SHOWN: prompt}).transpose(RESIDUAL, POSITION)
    tokens = result.top_token.isel({SHOWN: prompt}).transpose(RESIDUAL, POSITION)
    return Heatmap(
        values=probs.values,
        rows=_labels(probs),
        cols=tuple(shown_token(t) for t in result.tokens.isel({SHOWN: prompt}).values),
        title=f"likeliest token, prompt {prompt}",
        x_title="token read",
        y_title="residual stream",
        value_title="probability",
        colour=shares(),
        cell_text=tuple(tuple(shown_token(t) for t in row) for row in tokens.values),
        first_row="bottom",
    )


def _labels(values: xr.DataArray) -> tuple[str, ...]:
    return tuple(str(label) for label in values[RESIDUAL].values)
