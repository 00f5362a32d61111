"""The logit lens on one prompt: likeliest tokens everywhere, and one position from below."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import evidence, provenance_of, shares
from mechbench.figures.spec import FigureSpec, Heatmap, Lines, Series, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.lens_view import RANK, RESIDUAL, LensView
from mechbench.shapes import ANSWER, POSITION


def lens_view_figure(
    result: LensView,
    *,
    answer: int = 0,
    position: int | None = None,
    residual: str = "final_post",
) -> FigureSpec:
    """The map, the rank of answer number ``answer`` at a position, and the tokens of one cell.

    The position is by default the one at which the task reads that answer.
    """
    at = int(result.read_at[answer]) if position is None else position
    token = shown_token(str(result.tokens.values[at]))
    wanted = shown_token(str(result.answers.values[answer]))
    ranks = result.answer_rank.isel({POSITION: at, ANSWER: answer})
    return FigureSpec(
        name="lens-view",
        title=f"Logit lens on prompt {result.prompt}",
        caption=(
            "Each residual stream (n_pre before attention of block n, n_mid after it) is read "
            "through the final norm and the unembedding, as if it were the last (raw, no learnt "
            f"translation). Map: the likeliest token of the {result.run} prompt {result.prompt}, "
            f"coloured by its probability, the cell of the table outlined. Lines: the rank of "
            f"“{wanted}” after position {at}, “{token}”, where 1 is the largest logit; it ends at "
            f"{int(ranks[-1]) + 1}. Table: likeliest tokens there in {residual}. "
            + evidence(result, interval="no interval, for one prompt is shown")
        ),
        panels=(
            lens_map(result, (residual, at)),
            _path(result, at, answer, wanted),
            _top(result, at, residual),
        ),
        columns=1,
        provenance=provenance_of(result),
    )


def lens_map(result: LensView, cell: tuple[str, int] | None = None) -> Heatmap:
    """The likeliest tokens by stream and position, ``cell`` of them outlined."""
    probs = result.top_prob.isel({RANK: 0}).transpose(RESIDUAL, POSITION)
    tokens = result.top_token.isel({RANK: 0}).transpose(RESIDUAL, POSITION)
    streams = _streams(result)
    return Heatmap(
        values=probs.values,
        rows=streams,
        cols=tuple(shown_token(t) for t in result.tokens.values),
        x_title="token read",
        y_title="residual stream",
        value_title="probability",
        colour=shares(),
        cell_text=tuple(tuple(shown_token(t) for t in row) for row in tokens.values),
        marked=() if cell is None else ((streams.index(cell[0]), cell[1]),),
        first_row="bottom",
    )


def _path(result: LensView, at: int, answer: int, wanted: str) -> Lines:
    def line(ranks: xr.DataArray) -> np.ndarray:
        return ranks.isel({POSITION: at, ANSWER: answer}).values + 1

    return Lines(
        x=np.arange(result.answer_rank.sizes[RESIDUAL]),
        x_labels=_streams(result),
        series=(
            Series(label=f"{wanted}, the answer", values=line(result.answer_rank)),
            Series(label="the next prompt's answer", values=line(result.control_rank), dashed=True),
        ),
        title=f"rank after position {at}",
        x_title="residual stream",
        y_title="rank",
        y_scale="log",
        markers=True,
    )


def _top(result: LensView, at: int, residual: str) -> Table:
    cell = {RESIDUAL: residual}
    tokens = result.top_token.sel(cell).isel({POSITION: at})
    probs = result.top_prob.sel(cell).isel({POSITION: at})
    rows = tuple(
        (str(int(rank)), shown_token(str(token)), f"{float(prob):.3f}")
        for rank, token, prob in zip(tokens[RANK].values, tokens.values, probs.values, strict=True)
    )
    return Table(
        columns=("rank", "token", "probability"), rows=rows, title=f"{residual}, position {at}"
    )


def _streams(result: LensView) -> tuple[str, ...]:
    return tuple(str(label) for label in result.answer_rank[RESIDUAL].values)
