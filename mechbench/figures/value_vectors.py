"""The table of neurons, and the layers they are in beside random active neurons."""

import numpy as np
import xarray as xr

from mechbench.figures.choices import DEFINITION
from mechbench.figures.evidence import ESTIMATE, evidence, provenance_of, series
from mechbench.figures.spec import FigureSpec, Lines, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.choices import MEASURE
from mechbench.results.value_vectors import (
    ABOVE,
    MEAN_DIRECT,
    MEAN_LENS,
    RANDOM,
    WHICH,
    ValueVectors,
)
from mechbench.shapes import LAYER, NEURON


def value_vectors_figure(result: ValueVectors, *, n_tokens: int = 8) -> FigureSpec:
    """Shares and gaps by layer, and a table with ``n_tokens`` promoted tokens per neuron."""
    found = len(result.neurons)
    return FigureSpec(
        name="value-vectors",
        title="Neurons that write the first label where it is wrong",
        caption=(
            f"In each layer the {result.k} neurons with the largest |activation| * norm at the "
            f"last position of {result.n_items} {result.items} prompts; kept where the lens gap "
            f"logit(first label) - logit(right label) is above {result.threshold:g}. {DEFINITION} "
            f"{found or 'No'} neuron{'' if found == 1 else 's'} "
            f"{'is' if found == 1 else 'are'} kept in at least {result.min_share:.0%} of the "
            "prompts. Lens gap: the neuron alone through final norm and unembedding; direct gap: "
            "its part of the run's own gap. Control: as many random active neurons. "
            + evidence(result)
        ),
        panels=(
            _by_layer(result, ABOVE, "above the threshold", "share of neurons"),
            _by_layer(result, MEAN_LENS, "lens gap", "logits"),
            _by_layer(result, MEAN_DIRECT, "direct gap", "logits"),
            _numbers(result),
            _tokens(result, n_tokens),
        ),
        provenance=provenance_of(result),
    )


def _by_layer(result: ValueVectors, measure: str, title: str, units: str) -> Lines:
    values = result.by_layer.sel({MEASURE: measure})
    layers = values[LAYER].values
    return Lines(
        x=np.asarray(layers),
        x_labels=tuple(str(layer) for layer in layers),
        series=tuple(
            series(values.sel({WHICH: which}), str(which), dashed=which == RANDOM)
            for which in values[WHICH].values
        ),
        title=f"mean over neurons: {title}" if units == "logits" else title,
        x_title="layer",
        y_title=units,
        markers=True,
    )


def _numbers(result: ValueVectors) -> Table:
    rows = tuple(
        (
            str(neuron),
            "yes" if neuron in result.neurons else "no",
            *(_interval(values.sel({NEURON: neuron})) for values in _measured(result)),
        )
        for neuron in result.kept[NEURON].values
    )
    columns = ("neuron", "found", "kept", "lens gap", "direct gap", "activation")
    return Table(columns=columns, rows=rows, title="strongest candidates")


def _measured(result: ValueVectors) -> tuple[xr.DataArray, ...]:
    return result.kept, result.lens, result.direct, result.activation


def _tokens(result: ValueVectors, n_tokens: int) -> Table:
    rows = tuple(
        (
            str(neuron),
            f"{float(result.norm.sel({NEURON: neuron})):.2f}",
            " ".join(shown_token(str(t)).strip() for t in tokens.values[:n_tokens]),
        )
        for neuron, tokens in zip(result.promoted[NEURON].values, result.promoted, strict=True)
    )
    return Table(columns=("neuron", "norm", "promoted tokens"), rows=rows, title="what they say")


def _interval(values: xr.DataArray) -> str:
    mean, low, high = (float(values.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"
