"""Node attribution: heads as a heat map, embedding and MLPs as bars."""

import xarray as xr

from mechbench.figures.evidence import (
    evidence,
    layer_by_head,
    mean_of,
    provenance_of,
    series,
)
from mechbench.figures.spec import Bars, FigureSpec
from mechbench.results.node_attribution import NodeAttribution
from mechbench.shapes import HEAD, LAYER


def node_attribution_figure(result: NodeAttribution) -> FigureSpec:
    """The mean score by layer and head, and of the embedding and the MLPs with intervals."""
    layers, heads = range(result.shape["n_layers"]), range(result.shape["n_heads"])
    mean = mean_of(result.summary)
    by_head = xr.DataArray(
        [[float(mean.sel(node=f"a{layer}.h{head}")) for head in heads] for layer in layers],
        dims=(LAYER, HEAD),
        coords={LAYER: list(layers), HEAD: list(heads)},
    )
    others = ["input", *(f"m{layer}" for layer in layers if result.shape["mlps"])]
    units = result.scores.attrs["units"]
    gradients = "1 gradient" if result.steps == 1 else f"{result.steps} gradients"
    return FigureSpec(
        name="node-attribution",
        title=f"Nodes by {result.method}",
        caption=(
            f"Estimated fall of {result.metric} ({units}) when the output of a head, of an MLP or "
            "of the embedding (input) is that of the corrupted run "
            f"({result.corruption or 'the task’s corruption'}), by {result.method} with "
            f"{gradients} per prompt: an approximation. Positive nodes help. " + evidence(result)
        ),
        panels=(
            layer_by_head(by_head, "heads", f"score ({units})"),
            Bars(
                groups=tuple(others),
                series=(series(result.summary.sel(node=others), "score"),),
                title="embedding and MLPs",
                y_title=f"score ({units})",
            ),
        ),
        columns=2,
        provenance=provenance_of(result),
    )
