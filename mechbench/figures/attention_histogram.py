"""Attention of heads at the answer positions as bars, one panel per head."""

import xarray as xr

from mechbench.figures.evidence import INTERVAL, evidence, mean_of, provenance_of
from mechbench.figures.spec import Bars, FigureSpec, Series
from mechbench.results.attention_histogram import AttentionHistogram
from mechbench.shapes import ANSWER, HEAD


def attention_histogram_figure(
    result: AttentionHistogram, *, bos: bool = False, columns: int = 2
) -> FigureSpec:
    """Mean attention with its standard deviation; BOS is hidden unless ``bos``."""
    keys = slice(0 if bos else 1, None)
    mean, spread = (v.isel(key=keys) for v in (mean_of(result.summary), result.spread))
    other = result.control.isel(key=keys)
    panels = [_bars(mean.sel({HEAD: h}), spread.sel({HEAD: h}), h) for h in result.heads]
    panels.append(_bars(other, None, "all other heads"))
    return FigureSpec(
        name="attention-histogram",
        title="Attention where letters are predicted",
        caption=(
            "Mean attention from the position that predicts each letter of the clean prompts to "
            f"every token{'' if bos else ' but BOS'}; bars show ± one standard deviation over "
            "prompts. The last panel is the mean over all other heads. "
            + evidence(result, interval=f"{INTERVAL} are in the result")
        ),
        panels=tuple(panels),
        columns=columns,
        provenance=provenance_of(result),
    )


def _bars(mean: xr.DataArray, spread: xr.DataArray | None, title: str) -> Bars:
    def one(answer: str) -> Series:
        values = mean.sel({ANSWER: answer}).values
        if spread is None:
            return Series(label=answer, values=values)
        sd = spread.sel({ANSWER: answer}).values
        return Series(label=answer, values=values, low=values - sd, high=values + sd)

    return Bars(
        groups=tuple(mean["key"].values),
        series=tuple(one(str(a)) for a in mean[ANSWER].values),
        title=title,
        x_title="attended token",
        y_title="attention",
    )
