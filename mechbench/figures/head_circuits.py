"""QK and OV circuits of heads: tokens by tokens, singular values, and what the vectors mean."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import evidence, provenance_of
from mechbench.figures.spec import FigureSpec, Heatmap, Lines, Panel, Series, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.head_circuits import (
    CIRCUIT,
    OV,
    QK,
    READ,
    SIDE,
    SIGN,
    VECTOR,
    WRITE,
    HeadCircuits,
)
from mechbench.shapes import HEAD


def head_circuits_figure(result: HeadCircuits, *, head: str | None = None) -> FigureSpec:
    """Both circuits of one head (by default the first), with the spectra of all heads."""
    one = result.heads[0] if head is None else head
    copied = float(result.copied.sel({HEAD: one}))
    panels: list[Panel] = [
        _block(result.qk.sel({HEAD: one}), f"{one}, QK", "score, undivided"),
        _block(result.ov.sel({HEAD: one}), f"{one}, OV", "logits, undivided"),
        _singular(result, QK),
        _singular(result, OV),
        _vectors(result, one, QK, ("query", "key")),
        _vectors(result, one, OV, ("attended", "written")),
    ]
    share = "" if np.isnan(copied) else f" The own token is the largest of {copied:.0%} of OV rows."
    return FigureSpec(
        name="head-circuits",
        title=f"QK and OV circuits of head {one}",
        caption=(
            f"Top: W_E W_Q W_K W_E and W_E W_V W_O W_U between tokens, without biases, positions "
            f"and the norms' divisors; outlined is the largest entry of each row.{share} Middle: "
            f"singular values of {', '.join(result.heads)} ({result.chosen_by}) in shares of the "
            "Frobenius norm, with heads of Gaussian weights (95 % of draws). Bottom: tokens at "
            "both ends of the leading singular vectors. Weights only. "
            + evidence(result, interval="no interval over prompts, for none are used")
        ),
        panels=tuple(panels),
        columns=2,
        shared_colour=False,
        provenance=provenance_of(result),
    )


def _block(values: xr.DataArray, title: str, value_title: str) -> Heatmap:
    rows, cols = values.dims
    best = np.argmax(values.values, axis=1)
    return Heatmap(
        values=values.values,
        rows=tuple(shown_token(t) for t in values[rows].values),
        cols=tuple(shown_token(t) for t in values[cols].values),
        title=title,
        x_title=f"{cols} token",
        y_title=f"{rows} token",
        value_title=value_title,
        marked=tuple((row, int(col)) for row, col in enumerate(best)),
    )


def _singular(result: HeadCircuits, circuit: str) -> Lines:
    values = result.singular.sel({CIRCUIT: circuit})
    control = result.control
    shares = values / np.sqrt((values**2).sum(VECTOR))
    lines = [Series(label=str(h), values=shares.sel({HEAD: h}).values) for h in result.heads]
    mean, low, high = (control.sel(estimate=e).values for e in ("mean", "low", "high"))
    lines.append(Series(label="Gaussian", values=mean, low=low, high=high, dashed=True))
    return Lines(
        x=np.arange(1, values.sizes[VECTOR] + 1),
        series=tuple(lines),
        title=f"singular values, {circuit}",
        x_title="vector",
        y_title="share of the norm",
    )


def _vectors(result: HeadCircuits, head: str, circuit: str, sides: tuple[str, str]) -> Table:
    tokens = result.top_token.sel({HEAD: head, CIRCUIT: circuit})
    rows = []
    for vector in tokens[VECTOR].values:
        for sign in tokens[SIGN].values:
            at = tokens.sel({VECTOR: vector, SIGN: sign})
            name = f"{int(vector) + 1}{str(sign).replace('-', '−')}"
            for side, what in zip((READ, WRITE), sides, strict=True):
                ends = "  ".join(map(shown_token, at.sel({SIDE: side}).values))
                rows.append((f"{what} {name}", ends))
    return Table(columns=("end", "tokens"), rows=tuple(rows), title=f"{head}, {circuit}")
