"""When the stages of two-hop queries are first seen, and how often they are seen at all."""

import numpy as np

from mechbench.figures.evidence import evidence, provenance_of, series
from mechbench.figures.query_panels import NOT_ABSENT, counted, groups_of
from mechbench.figures.spec import Bars, Boxes, BoxSeries, FigureSpec
from mechbench.results.query_groups import GROUP
from mechbench.results.two_hop_stages import STAGE, TwoHopStages
from mechbench.shapes import PROMPT

_QUANTILES = {"low": 0.05, "q1": 0.25, "values": 0.5, "q3": 0.75, "high": 0.95}


def two_hop_stages_figure(result: TwoHopStages) -> FigureSpec:
    """Boxes of first layers by stage and group, and bars of how often each stage is seen."""
    stages = tuple(str(stage) for stage in result.layers[STAGE].values)
    groups = groups_of(result.detected)
    detected = [series(result.detected.sel({GROUP: g}, drop=True), g) for g in groups]
    control = [series(result.control.sel({GROUP: g}, drop=True), f"control, {g}") for g in groups]
    return FigureSpec(
        name="two-hop-stages",
        title="Stages of two-hop queries",
        caption=(
            "First layer at which each stage is seen, of the queries in which it is: boxes are "
            "quartiles, whiskers 5 to 95 %. First hop: e2 decoded at t1; propagation: mean of "
            f"attention from t2 to t1 mattering (window {result.window}), attention writing e2 at "
            "t2, and e2 decoded at t2; second hop: e3 decoded at t2; prediction: an MLP at t2 "
            f"ranks it first. Decoding: {result.decoding} with the prompt {result.prompt!r}. The "
            "control has another query's names and another key position. "
            f"Groups: {counted(result.counts)}. {NOT_ABSENT} " + evidence(result)
        ),
        panels=(
            Boxes(
                groups=stages,
                series=tuple(_boxes(result, group) for group in groups),
                title="first layer",
                y_title="layer",
                y_limits=(-0.5, result.n_layers - 0.5),
            ),
            Bars(
                groups=stages,
                series=(*detected, *control),
                title="queries in which a stage is seen",
                y_title="share",
                y_limits=(0.0, 1.0),
            ),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _boxes(result: TwoHopStages, group: str) -> BoxSeries:
    layers = result.layers.isel({PROMPT: np.flatnonzero(result.sets.values == group)}).values
    found = [row[~np.isnan(row)] for row in layers]
    return BoxSeries(
        label=group,
        **{
            name: np.array([np.quantile(row, q) if len(row) else np.nan for row in found])
            for name, q in _QUANTILES.items()
        },
    )
