"""Prompt pairs aligned by position, and what the model answers to each."""

import numpy as np

from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of
from mechbench.figures.spec import FigureSpec, Heatmap, Sequential, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.pair_logits import RUN, RUNS, PairLogits
from mechbench.shapes import ANSWER, POSITION, PROMPT

_WIDEST = 7


def pair_logits_figure(result: PairLogits, *, n_shown: int = 6) -> FigureSpec:
    """The tokens of the first pairs, those that differ coloured, above a table of answers."""
    shown = min(n_shown, result.metric.sizes[PROMPT])
    mean, low, high = (float(result.change.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    levels = ", ".join(f"{run} {float(result.metric.sel({RUN: run}).mean()):.2f}" for run in RUNS)
    return FigureSpec(
        name="pair-logits",
        title="Clean and corrupted prompts",
        caption=(
            f"Coloured tokens differ. The {result.metric_name.replace('_', ' ')}: means {levels}; "
            f"clean minus corrupted {mean:+.3f} [{low:+.3f}, {high:+.3f}] "
            f"{result.change.attrs['units']}. Log-probability of the answers to clean prompts "
            f"{float(result.log_prob.sel({RUN: 'clean'}).mean()):.2f} nats, of the next prompt's "
            f"{float(result.shuffled.sel({RUN: 'clean'}).mean()):.2f}. The figure has "
            f"the first {shown} pairs. " + evidence(result)
        ),
        panels=(_tokens(result, shown), _answers(result, shown)),
        columns=1,
        provenance=provenance_of(result),
    )


def _tokens(result: PairLogits, shown: int) -> Heatmap:
    tokens = result.tokens.transpose(PROMPT, RUN, POSITION).values[:shown]
    differs = np.repeat(tokens[:, :1] != tokens[:, 1:], len(RUNS), axis=1)
    rows = tokens.reshape(-1, tokens.shape[-1])
    return Heatmap(
        values=differs.reshape(rows.shape).astype(float),
        rows=tuple(f"{prompt} {run}" for prompt in range(shown) for run in ("clean", "corr.")),
        cols=tuple(str(p) for p in result.tokens[POSITION].values),
        x_title="position",
        y_title="prompt",
        value_title="differs",
        colour=Sequential(low=0.0, high=3.0),  # light enough for the text in it
        cell_text=tuple(tuple(_short(shown_token(t)) for t in row) for row in rows),
    )


def _short(token: str) -> str:
    """Few enough characters for a cell; the widest one sets the size of all."""
    return token if len(token) <= _WIDEST else token[: _WIDEST - 1] + "…"


def _answers(result: PairLogits, shown: int) -> Table:
    rows = []
    for prompt in range(shown):
        at = {PROMPT: prompt}
        right = " ".join(shown_token(str(t)) for t in result.answers.isel(at).values)
        row = [str(prompt), right]
        for run in RUNS:
            said = result.top_token.sel({RUN: run}).isel(at).transpose(ANSWER).values
            likely = result.top_prob.sel({RUN: run}).isel(at).values
            row.append(f"{float(result.metric.sel({RUN: run}).isel(at)):+.2f}")
            row.append(
                " ".join(
                    f"{shown_token(str(t))} {p:.2f}" for t, p in zip(said, likely, strict=True)
                )
            )
        rows.append(tuple(row))
    metric = result.metric_name.replace("_", " ")
    columns = ("prompt", "answer", f"{metric}, clean", "says", f"{metric}, corrupted", "says ")
    return Table(columns=columns, rows=tuple(rows), title="answers, and the likeliest tokens")
