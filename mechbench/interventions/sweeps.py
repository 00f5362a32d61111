"""Sweeps: the same patch at every layer, head, position or neuron, as one labelled array."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import xarray as xr

from mechbench.errors import HookNameError
from mechbench.interventions.engine import run_patches
from mechbench.interventions.patches import Patch
from mechbench.interventions.receipts import Receipt
from mechbench.interventions.sites import Site
from mechbench.interventions.sources import FromRun, Source
from mechbench.shapes import ANSWER, HEAD, LAYER, NEURON, POSITION, PROMPT
from mechbench.tasks.metrics import Metric
from mechbench.tasks.pairs import PromptPairs

_AXES = (LAYER, HEAD, POSITION, NEURON)


@dataclass(frozen=True)
class Swept:
    """A sweep's outcome.

    Attributes:
        patched: the metric under each patch, dims ``(*axes, prompt, answer)``.
        base: the metric of the unpatched run, dims ``(prompt, answer)``.
        receipt: what the engine did.
    """

    patched: xr.DataArray
    base: xr.DataArray
    receipt: Receipt

    @property
    def effect(self) -> xr.DataArray:
        """Patched minus unpatched: 0 is no effect; when noising, negative is damage."""
        return (self.patched - self.base).transpose(*self.patched.dims)


def sweep(
    model,
    pairs: PromptPairs,
    metric: Metric,
    *,
    site: str = "z",
    axes: Sequence[str] = (LAYER, HEAD),
    source: Source | None = None,
    direction: str = "noise",
    position: int | str | tuple[int, ...] | None = None,
    coordinates: Mapping[str, Sequence[int]] | None = None,
    **engine: Any,
) -> Swept:
    """Patch ``site`` once for every combination of ``axes`` and measure the metric.

    Args:
        axes: of ``layer``, ``head``, ``position``, ``neuron``; in this order in the result.
        source: by default the other run's activation.
        position: patch only there, when ``position`` is not swept; None means all positions.
        coordinates: restrict an axis, e.g. ``{"layer": [3, 4]}``.
        engine: further arguments of ``run_patches``.

    Raises:
        HookNameError: an axis that is not known or that the site does not have.
    """
    for axis in axes:
        if axis not in _AXES:
            raise HookNameError(f"No axis is called {axis!r}: use some of {', '.join(_AXES)}.")
    if LAYER not in axes and not (coordinates and len(coordinates.get(LAYER, ())) == 1):
        raise HookNameError("A sweep needs the axis 'layer', or coordinates={'layer': [one]}.")
    source = source or FromRun("corrupt" if direction == "noise" else "clean")
    coords = {axis: list(_extent(model, pairs, site, axis)) for axis in dict.fromkeys(axes)}
    for axis, values in (coordinates or {}).items():
        coords[axis] = list(values)
    cells = []
    for combination in product(*coords.values()):
        at = dict(zip(coords, combination, strict=True))
        cells.append((Patch(Site(site, **{POSITION: position, **at}), source),))
    outcome = run_patches(model, pairs, cells, metric, direction=direction, **engine)
    shape = [len(v) for v in coords.values()]
    labels = {PROMPT: range(len(pairs)), ANSWER: list(pairs.answer_labels)}
    attrs = {"units": metric.units, "long_name": metric.name}
    patched = xr.DataArray(
        outcome.values.numpy().reshape(*shape, *outcome.values.shape[1:]),
        dims=(*coords, PROMPT, ANSWER),
        coords={**coords, **labels},
        attrs=attrs,
    )
    base = xr.DataArray(outcome.base.numpy(), dims=(PROMPT, ANSWER), coords=labels, attrs=attrs)
    return Swept(patched, base, outcome.receipt)


def _extent(model, pairs: PromptPairs, site: str, axis: str) -> range:
    cfg = model.cfg
    if axis == HEAD:
        shared = site in ("k", "v")
        return range((cfg.n_key_value_heads or cfg.n_heads) if shared else cfg.n_heads)
    return range({LAYER: cfg.n_layers, POSITION: pairs.n_positions, NEURON: cfg.d_mlp}[axis])
