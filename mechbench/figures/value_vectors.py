"""The table of neurons, and the layers they are in beside random active neurons."""

import numpy as np
import xarray as xr

from mechbench.figures.choices import DEFINITION
from mechbench.figures.evidence import ESTIMATE, evidence, mean_of, provenance_of, series
from mechbench.figures.spec import FigureSpec, Lines, Table
from mechbench.figures.tokens import shown_token
from mechbench.results.choices import MEASURE
from mechbench.results.value_vectors import (
    ABOVE,
    MEAN_DIRECT,
    MEAN_LENS,
    RANDOM,
    RANK,
    WHICH,
    ValueVectors,
)
from mechbench.shapes import LAYER, NEURON

_COLUMNS = ("neuron", "kept", "lens gap", "direct gap", "activation", "norm", "promoted tokens")


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
            _table(result, n_tokens),
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


def _table(result: ValueVectors, n_tokens: int) -> Table:
    rows = []
    for neuron in result.kept[NEURON].values:
        at = {NEURON: neuron}
        tokens = result.promoted.sel(at).isel({RANK: slice(0, n_tokens)}).values
        rows.append(
            (
                f"{neuron}{'' if neuron in result.neurons else ' (not found)'}",
                *(_interval(values.sel(at)) for values in (result.kept, result.lens)),
                _interval(result.direct.sel(at)),
                f"{float(mean_of(result.activation.sel(at))):.2f}",
                f"{float(result.norm.sel(at)):.2f}",
                " ".join(shown_token(t).strip() for t in tokens),
            )
        )
    return Table(columns=_COLUMNS, rows=tuple(rows), title="strongest candidates")


def _interval(values: xr.DataArray) -> str:
    mean, low, high = (float(values.sel({ESTIMATE: e})) for e in ("mean", "low", "high"))
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"
