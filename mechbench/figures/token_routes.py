"""Which tokens of two prompts go through which block, beside each other."""

import numpy as np
import xarray as xr

from mechbench.errors import MechbenchError
from mechbench.figures.evidence import evidence, provenance_of, series, shares
from mechbench.figures.spec import Bars, FigureSpec, Heatmap
from mechbench.figures.tokens import shown_token
from mechbench.results.token_routes import RUN, RUNS, TokenRoutes
from mechbench.shapes import LAYER, POSITION, PROMPT


def token_routes_figure(
    result: TokenRoutes,
    *,
    prompt: int = 0,
    run: str = RUNS[0],
    other: int | None = None,
    other_run: str = RUNS[1],
) -> FigureSpec:
    """Maps of two prompts, shares by block, and how often two prompts are decided alike.

    Args:
        prompt, run: the first map: the clean or the corrupted prompt of which pair.
        other, other_run: the second map; of the same pair where ``other`` is None.
    """
    first = _of(result, prompt, run)
    second = _of(result, prompt if other is None else other, other_run)
    differs = first.values != second.values
    setting = {
        "aux_threshold": f", threshold {result.threshold:g}",
        "topk": f", capacity {result.capacity:g}",
        "random": f", capacity {result.capacity:g}",
    }.get(result.mode, "")
    return FigureSpec(
        name="token-routes",
        title="Which tokens go through which block",
        caption=(
            f"Route mode {result.mode}{setting}. Maps: tokens that go through each routed block "
            f"(dark) or past it, with the number of tokens; cells with an outline are decided "
            f"otherwise in the other prompt ({int(differs.sum())} of {differs.size}). Agreement: "
            "share of positions decided alike in the clean and the corrupted prompt of a pair, "
            "beside the clean prompts of two pairs. " + evidence(result)
        ),
        panels=(
            _map(result, first, differs),
            _map(result, second, differs),
            _shares(result),
            _agreement(result),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _of(result: TokenRoutes, prompt: int, run: str) -> xr.DataArray:
    n = result.through.sizes[PROMPT]
    if run not in RUNS or not 0 <= prompt < n:
        raise MechbenchError(
            f"There is no {run} prompt {prompt}: give clean or corrupted, and 0 to {n - 1}."
        )
    return result.through.sel({RUN: run}).isel({PROMPT: prompt}).transpose(LAYER, POSITION)


def _map(result: TokenRoutes, through: xr.DataArray, differs: np.ndarray) -> Heatmap:
    run, prompt = str(through[RUN].item()), int(through[PROMPT].item())
    counts = result.n_tokens.sel({RUN: run, PROMPT: prompt}).values
    texts = result.tokens.sel({RUN: run, PROMPT: prompt}).values
    layers = through[LAYER].values
    return Heatmap(
        values=through.values.astype(float).T,
        rows=tuple(str(position) for position in through[POSITION].values),
        cols=tuple(f"{layer} ({int(n)})" for layer, n in zip(layers, counts, strict=True)),
        title=f"{run} prompt {prompt}",
        x_title="block (tokens)",
        y_title="position",
        value_title="through",
        colour=shares(),
        cell_text=tuple((shown_token(str(token)),) * len(layers) for token in texts),
        marked=tuple((int(row), int(col)) for row, col in np.argwhere(differs.T)),
    )


def _shares(result: TokenRoutes) -> Bars:
    return Bars(
        groups=_blocks(result),
        series=tuple(series(result.share.sel({RUN: run}), f"{run} prompts") for run in RUNS),
        title="share of tokens that go through",
        y_title="share",
        y_limits=(0.0, 1.0),
    )


def _agreement(result: TokenRoutes) -> Bars:
    return Bars(
        groups=_blocks(result),
        series=(
            series(result.agreement, "the two prompts of a pair"),
            series(result.agreement_other, "prompts of two pairs"),
        ),
        title="positions decided alike",
        y_title="share",
        y_limits=(0.0, 1.0),
    )


def _blocks(result: TokenRoutes) -> tuple[str, ...]:
    return tuple(f"block {layer}" for layer in result.share[LAYER].values)
