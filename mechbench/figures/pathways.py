"""Curves over the share of sources drawn, over ensemble size, and over the sampled layer."""

import numpy as np
import xarray as xr

from mechbench.figures.evidence import evidence, mean_of, provenance_of, series
from mechbench.figures.spec import Bars, FigureSpec, Lines, Reference
from mechbench.results.pathways import FORM, KEPT, MEMBERS, Pathways
from mechbench.shapes import LAYER


def pathways_figure(result: Pathways) -> FigureSpec:
    """Metric and loss by share and form, by number of members, and by layer."""
    metric = f"{result.metric_name} ({result.metric_units})"
    metric_ends = _ends(result.dense, result.alone)
    loss_ends = _ends(result.dense_loss, result.alone_loss)
    return FigureSpec(
        name="pathways",
        title="What sub-models of sampled sources still do",
        caption=_caption(result),
        panels=(
            _curve(result.metric, metric, metric_ends),
            _curve(result.loss, "loss of the answers (nats)", loss_ends),
            _members(result.ensemble_metric, result, metric, metric_ends[:1]),
            _members(result.ensemble_loss, result, "loss of the answers (nats)", loss_ends[:1]),
            _layers(result.layer_metric, result, metric, metric_ends[:1]),
            _layers(result.layer_loss, result, "loss of the answers (nats)", loss_ends[:1]),
        ),
        columns=2,
        provenance=provenance_of(result),
    )


def _ends(dense: xr.DataArray, alone: xr.DataArray) -> tuple[Reference, Reference]:
    return (
        Reference(value=float(mean_of(dense)), label="dense"),
        Reference(value=float(mean_of(alone)), label="no sources"),
    )


def _curve(values: xr.DataArray, y_title: str, ends: tuple[Reference, ...]) -> Lines:
    return Lines(
        x=values[KEPT].values,
        series=tuple(
            series(values.sel({FORM: form}, drop=True), str(form)) for form in values[FORM].values
        ),
        references=ends,
        title="one sub-model",
        x_title="share of sources drawn",
        y_title=y_title,
        markers=True,
    )


def _members(
    values: xr.DataArray, result: Pathways, y_title: str, ends: tuple[Reference, ...]
) -> Lines:
    sizes = values[MEMBERS].values
    return Lines(
        x=np.arange(len(sizes)),
        x_labels=tuple(str(size) for size in sizes),
        series=(series(values, f"{result.form}, {result.kept:g} drawn"),),
        references=ends,
        title="mean probability of several",
        x_title="sub-models",
        y_title=y_title,
        markers=True,
    )


def _layers(
    values: xr.DataArray, result: Pathways, y_title: str, ends: tuple[Reference, ...]
) -> Bars:
    return Bars(
        groups=tuple(str(layer) for layer in values[LAYER].values),
        series=(series(values, f"{result.form}, {result.kept:g} drawn"),),
        references=ends,
        title="one layer sampled",
        x_title="layer",
        y_title=y_title,
    )


def _caption(result: Pathways) -> str:
    return (
        "Each layer attends to sources drawn at random, and to the position itself: a set for all "
        f"positions (unbiased), mostly near ones (local, noise of {result.sigma:g} blocks), or "
        "each source by itself (bernoulli). Loss: cross-entropy of the answers. Dashed: the whole "
        "model, and the model in which no position sees another. Sampling masks attention; it "
        f"saves no work here. Intervals: 95 % bootstrap over {result.n_draws} draws. "
        + evidence(
            result,
            interval="95 % bootstrap intervals of the two ends over prompts are in the result",
        )
    )
